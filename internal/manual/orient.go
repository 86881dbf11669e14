package manual

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cygnet/internal/config"
	"cygnet/internal/connection"
)

// ErrNoInterfaces is for a machine on which no device is guarded.
var ErrNoInterfaces = errors.New("no IPsec-enabled interfaces found")

// Orient finds out which end of a connection this machine is. Unlike IKE's,
// connections by hand must have one.
func Orient(c *config.Conn, f *connection.Facts) (*connection.Description, error) {
	if len(f.Ours) == 0 {
		return nil, ErrNoInterfaces
	}
	d, err := connection.Orient(c, f)
	switch {
	case errors.Is(err, connection.ErrBothEnds):
		return nil, fmt.Errorf("ambiguous: could be on %s", strings.Join(devices(f), " or "))
	case err != nil:
		return nil, err
	case !d.Oriented:
		return nil, fmt.Errorf("cannot find interface for %s or %s", d.Local.Addr, d.Remote.Addr)
	}
	return d, nil
}

func devices(f *connection.Facts) []string {
	var list []string
	for _, a := range f.Ours {
		if !slices.Contains(list, a.Virtual) {
			list = append(list, a.Virtual)
		}
	}
	return list
}

// Other is what the machine at the peer's address would know: for `--other`.
func Other(f *connection.Facts, d *connection.Description) *connection.Facts {
	g := *f
	g.Ours = []connection.Address{{Addr: d.Remote.Addr, Virtual: d.Virtual, Physical: d.Physical}}
	return &g
}
