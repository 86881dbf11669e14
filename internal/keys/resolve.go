package keys

import (
	"errors"
	"fmt"
	"net/netip"

	"cygnet/internal/config"
	"cygnet/internal/ike"
)

// resolver turns the index of a secret into identities. FreeS/WAN takes a bare
// host name for the addresses it has.
type resolver struct {
	ask      func(host string) ([]netip.Addr, error)
	known    map[string][]ike.ID
	problems []config.Problem
}

func (r *resolver) index(s config.Secret) []match {
	var out []match
	for _, i := range s.Index {
		m := match{any: i.Any}
		switch {
		case i.Any:
		case i.Name != "":
			m.ids = r.resolve(i.Name, s.Where)
		default:
			m.ids = []ike.ID{i.ID}
		}
		out = append(out, m)
	}
	return out
}

// resolve returns the identities of a host name, none if it has no address.
// Each name is asked for once.
func (r *resolver) resolve(host string, where config.Pos) []ike.ID {
	if ids, ok := r.known[host]; ok {
		return ids
	}
	var addrs []netip.Addr
	err := errors.New("host names are not resolved here")
	if r.ask != nil {
		addrs, err = r.ask(host)
	}
	if err != nil {
		r.problems = append(r.problems, config.Problem{
			File: where.File, Line: where.Line,
			Text: fmt.Sprintf("the host name %q in the index matches nobody: %v", host, err),
			Mend: "write its address",
		})
	}
	var ids []ike.ID
	for _, a := range addrs {
		if id := ike.IDOfAddr(a); !id.IsZero() {
			ids = append(ids, id)
		}
	}
	r.known[host] = ids
	return ids
}
