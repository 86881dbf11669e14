package updown

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"cygnet/internal/firewall"
	"cygnet/internal/host"
)

// UsageError is a way of being called that the default script refuses. Status
// is what a command exits with because of it.
type UsageError struct {
	Status int
	Why    string
}

// Error implements error.
func (e *UsageError) Error() string { return e.Why }

// Script is the default updown script: what `ipsec _updown` does, for scripts
// of users that want it and something more. Firewall may be nil if no argument
// asks for it.
type Script struct {
	Host     host.Router
	Firewall firewall.Firewall
}

// Default runs the default script with this machine. args are its arguments,
// getenv finds its PLUTO_* variables.
func Default(args []string, getenv func(string) string) error {
	if err := refuse(args, getenv); err != nil {
		return err
	}
	h, err := host.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	s := Script{Host: h}
	if len(args) > 0 {
		fw, err := firewall.New(firewall.Options{})
		if err != nil {
			return err
		}
		defer fw.Close()
		s.Firewall = fw
	}
	return s.Run(args, getenv)
}

// firewallWords are arguments that ask for forwarding to be opened. ipfwadm is
// what leftfirewall=yes stood for; the others are what scripts of today say.
var firewallWords = []string{"ipfwadm", "iptables", "nftables"}

// refuse says what is wrong with a call.
func refuse(args []string, getenv func(string) string) error {
	switch major, minor, _ := strings.Cut(getenv("PLUTO_VERSION"), "."); {
	case major != "1":
		return &UsageError{2, fmt.Sprintf("unknown interface version %q", getenv("PLUTO_VERSION"))}
	case minor == "0":
		return &UsageError{2, "obsolete interface version 1.0"}
	}
	known := false
	for _, w := range firewallWords {
		known = known || len(args) == 1 && args[0] == w
	}
	if len(args) > 0 && !known {
		return &UsageError{2, fmt.Sprintf("unknown arguments %q", args)}
	}
	if _, _, ok := verb(getenv("PLUTO_VERB")); !ok {
		return &UsageError{1, fmt.Sprintf("unknown verb %q", getenv("PLUTO_VERB"))}
	}
	return nil
}

// verb splits a verb into its base, and whether a client net is meant.
func verb(s string) (base string, clients, ok bool) {
	base, kind, _ := strings.Cut(strings.TrimSuffix(s, "-v6"), "-")
	switch base {
	case "prepare", "route", "unroute", "up", "down":
		return base, kind == "client", kind == "client" || kind == "host"
	}
	return "", false, false
}

func base(s string) string {
	b, _, _ := strings.Cut(s, "-")
	return b
}

// Run does what the table of freeswan.md 6.13 says of a verb. The error of a
// call that makes no sense is a *UsageError.
func (s Script) Run(args []string, getenv func(string) string) error {
	if err := refuse(args, getenv); err != nil {
		return err
	}
	base, clients, _ := verb(getenv("PLUTO_VERB"))
	switch base {
	case "prepare":
		peer, err := prefix(getenv, "PLUTO_PEER_CLIENT")
		if err != nil {
			return err
		}
		return s.Host.ClearRoutes(peer)
	case "route", "unroute":
		r, err := route(getenv)
		if err != nil {
			return err
		}
		if base == "unroute" {
			return s.Host.DropRoute(r)
		}
		err = s.Host.PutRoute(r)
		if errors.Is(err, unix.ENETUNREACH) {
			err = fmt.Errorf("%w (incorrect or missing nexthop setting??)", err)
		}
		return err
	}
	if len(args) == 0 || !clients {
		return nil // up and down have nothing else to do
	}
	return s.filter(base == "up", getenv)
}

// filter opens or shuts forwarding between two clients (freeswan.md 6.14).
func (s Script) filter(open bool, getenv func(string) string) error {
	if s.Firewall == nil {
		return errors.New("there is no firewall to change")
	}
	my, err := prefix(getenv, "PLUTO_MY_CLIENT")
	if err != nil {
		return err
	}
	peer, err := prefix(getenv, "PLUTO_PEER_CLIENT")
	if err != nil {
		return err
	}
	if my.Addr().Is4() != peer.Addr().Is4() {
		return &UsageError{2, fmt.Sprintf("clients %s and %s are of different families", my, peer)}
	}
	// A connection of several nets, or of several instances, calls for each.
	name := fmt.Sprintf("%s %s %s", getenv("PLUTO_CONNECTION"), my, peer)
	if !open {
		return s.Firewall.Shut(name)
	}
	return s.Firewall.Open(name, []firewall.Pair{{Device: getenv("PLUTO_INTERFACE"), Local: my, Remote: peer}})
}

func prefix(getenv func(string) string, name string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(getenv(name))
	if err != nil {
		return p, &UsageError{2, fmt.Sprintf("%s: %v", name, err)}
	}
	return p.Masked(), nil
}

// route is what route and unroute mean.
func route(getenv func(string) string) (host.Route, error) {
	r := host.Route{Device: getenv("PLUTO_INTERFACE")}
	var err error
	if r.Prefix, err = prefix(getenv, "PLUTO_PEER_CLIENT"); err != nil {
		return r, err
	}
	if r.Device == "" {
		return r, &UsageError{2, "PLUTO_INTERFACE is not set"}
	}
	for _, v := range []struct {
		name string
		at   *netip.Addr
	}{{"PLUTO_NEXT_HOP", &r.NextHop}, {"PLUTO_MY_SOURCEIP", &r.Source}} {
		if text := getenv(v.name); text != "" {
			if *v.at, err = netip.ParseAddr(text); err != nil {
				return r, &UsageError{2, fmt.Sprintf("%s: %v", v.name, err)}
			}
		}
	}
	if r.NextHop.IsValid() && r.NextHop.Is4() != r.Prefix.Addr().Is4() {
		r.NextHop = netip.Addr{} // a tunnel of one family through the other
	}
	for _, v := range []struct {
		name string
		at   *int
	}{{"PLUTO_MTU", &r.MTU}, {"PLUTO_METRIC", &r.Metric}} {
		if text := getenv(v.name); text != "" {
			if *v.at, err = strconv.Atoi(text); err != nil || *v.at < 0 {
				return r, &UsageError{2, fmt.Sprintf("%s: %q is not a number", v.name, text)}
			}
		}
	}
	return r, nil
}
