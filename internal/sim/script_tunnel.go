package sim

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/suite"
)

func (s *Script) tunnel(a []string) error {
	from, to := s.world.Node(a[1]), s.world.Node(a[3])
	if from == nil || to == nil || from == to {
		return fmt.Errorf("needs two nodes")
	}
	for _, net := range []string{a[2], a[4]} {
		if _, err := netip.ParsePrefix(net); err != nil {
			return err
		}
	}
	if _, err := s.find(a[0]); err == nil {
		return fmt.Errorf("there is a tunnel of that name")
	}
	var failed error
	s.world.Tunnel(a[0], from, to, a[2], a[4], func(n *Node, d *connection.Description) {
		for _, option := range a[5:] {
			key, value, _ := strings.Cut(option, "=")
			if node, k, one := strings.Cut(key, "."); one {
				if node != n.Name {
					continue
				}
				key = k
			}
			if err := s.setOption(n, d, key, value); err != nil {
				failed = fmt.Errorf("%s: %w", option, err)
			}
		}
	})
	return failed
}

// setOption sets one option of a connection as one of its ends has it:
//
//	ikelife= life= margin= dpd= retransmit=    times
//	tries= fuzz= fragment=                     numbers
//	ike=                                       proposals, as in ipsec.conf
//	pfs= mobike= reauth= compress= resume=     yes or no
//	tfc=no  encap=yes|no|auto  dpdaction=hold|clear|restart
//	childless=allow|prefer|force|never
//	virtual=yes asks for an address, pool=yes gives one; asks=NODE: it asks, and the other gives
//	keys=yes    both prove themselves by keys
//	eap=NODE    that end proves itself by a password, the other by its key
//	via=NODE    one end is called there, which sends the caller on (RFC 5685)
func (s *Script) setOption(n *Node, d *connection.Description, key, value string) (err error) {
	durations := map[string]*time.Duration{
		"ikelife": &d.IKELife, "life": &d.ChildLife, "margin": &d.RekeyMargin,
		"dpd": &d.DPDDelay, "retransmit": &d.RetransmitTotal,
	}
	numbers := map[string]*int{"tries": &d.KeyingTries, "fuzz": &d.RekeyFuzz, "fragment": &d.FragmentSize}
	flags := map[string]*bool{"mobike": &d.MOBIKE, "pool": &d.FromPool, "reauth": &d.Reauth, "compress": &d.Compress, "resume": &d.Resume}
	switch {
	case durations[key] != nil:
		*durations[key], err = time.ParseDuration(value)
	case numbers[key] != nil:
		*numbers[key], err = strconv.Atoi(value)
	case flags[key] != nil:
		*flags[key] = value == "yes"
	case key == "ike":
		if d.IKE, err = suite.ParseIKE(value); err == nil { // as where esp= is left out
			d.ESP = suite.Followed(d.ESP, d.IKE)
		}
	case key == "virtual":
		d.RequestIP = []netip.Addr{netip.IPv4Unspecified()}
	case key == "pfs":
		d.PFS = value == "yes"
		if !d.PFS {
			d.ESP = noPFS(d.ESP)
		}
	case key == "tfc":
		d.RefuseTFC = value == "no"
	case key == "encap":
		d.Encap = map[string]ike.Tristate{"yes": ike.Yes, "no": ike.No, "auto": ike.Auto}[value]
	case key == "dpdaction":
		d.DPDAction = map[string]ike.DPDAction{"hold": ike.DPDHold, "clear": ike.DPDClear, "restart": ike.DPDRestart}[value]
	case key == "childless":
		d.Childless = map[string]ike.Childless{"prefer": ike.ChildlessPrefer, "force": ike.ChildlessForce, "never": ike.ChildlessNever}[value]
	case key == "asks" && s.world.Node(value) == n:
		d.RequestIP = []netip.Addr{netip.IPv4Unspecified()}
	case key == "asks":
		d.FromPool = true
	case key == "keys":
		method := []ike.AuthMethod{ike.AuthPubkey}
		d.Local.Auth, d.Remote.Auth = method, method
		n.Key()
		d.Remote.Keys = []ike.PublicKey{{Key: s.world.Node(d.Remote.ID.Data).Key(), Origin: "the simulation"}}
	case key == "eap":
		err = s.eap(n, d, value)
	case key == "via":
		err = s.via(n, d, value)
	default:
		err = fmt.Errorf("unknown option")
	}
	return err
}

// eap makes one end a user with a password and the other a gateway with a key.
func (s *Script) eap(n *Node, d *connection.Description, user string) error {
	u := s.world.Node(user)
	if u == nil {
		return fmt.Errorf("no such node")
	}
	if n == u {
		d.Local.Auth, d.Remote.Auth = []ike.AuthMethod{ike.AuthEAPMSCHAPv2}, []ike.AuthMethod{ike.AuthPubkey}
		gateway := s.world.Node(d.Remote.ID.Data)
		d.Remote.Keys = []ike.PublicKey{{Key: gateway.Key(), Origin: "the simulation"}}
		n.Keys.passwords[u.Name] = "the password of " + u.Name
		return nil
	}
	d.Local.Auth, d.Remote.Auth = []ike.AuthMethod{ike.AuthPubkey}, []ike.AuthMethod{ike.AuthEAPMSCHAPv2}
	n.Keys.passwords[u.Name] = "the password of " + u.Name
	return nil
}

// via has the second end called at another gateway, which knows the connection
// too and sends us on.
func (s *Script) via(n *Node, d *connection.Description, front string) error {
	f := s.world.Node(front)
	if f == nil {
		return fmt.Errorf("no such node")
	}
	if at := s.world.byAddr[f.redirect]; at != n {
		d.RedirectWithin, d.Remote.Addr, d.AcceptRedirect = []netip.Addr{d.Remote.Addr}, f.Addr, true
		return nil
	}
	c, same := *d.Conn, *d
	c.Local.Addr, same.Conn = f.Addr, &c
	f.defined = append(f.defined, &same)
	f.later(func() { f.tell(connection.Add{Name: d.Name, List: []*connection.Description{&same}}) })
	f.drain()
	return nil
}

func (s *Script) gateway(a []string) error {
	n := s.world.Node(a[0])
	if n == nil {
		return fmt.Errorf("no such node")
	}
	for _, option := range a[1:] {
		key, value, _ := strings.Cut(option, "=")
		to := s.world.Node(value)
		switch {
		case key == "tokens" && value == "yes":
			n.tokens = true
		case key == "redirect" && to != nil:
			n.redirect = to.Addr
		default:
			return fmt.Errorf("unknown option %s", option)
		}
	}
	n.engine = n.makeEngine(n)
	return nil
}
