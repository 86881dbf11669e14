package ike

import (
	"net/netip"
	"testing"
)

// listed is a PAD that knows which connections a caller may mean, and no more.
type listed struct {
	PAD
	conns []*Conn
}

func (l listed) Between(netip.Addr, netip.Addr) []*Conn { return l.conns }

// A connection without UDP decides for those who may mean it, and for nobody else.
func TestForcesEncap(t *testing.T) {
	here, peer := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	fixed := func(e Tristate) *Conn { return &Conn{Encap: e, Remote: End{Addr: peer}} }
	anybody := func(e Tristate) *Conn { return &Conn{Encap: e, Template: true} }
	for _, x := range []struct {
		name  string
		asked Tristate
		began bool
		conns []*Conn
		want  bool
	}{
		{"nothing is said", Auto, false, []*Conn{fixed(Auto)}, true},
		{"the connection says no", No, false, nil, false},
		{"the connection says yes", Yes, false, []*Conn{fixed(No)}, true},
		{"we began", Auto, true, []*Conn{fixed(No)}, true},
		{"another one to the same peer says no", Auto, false, []*Conn{fixed(Auto), fixed(No)}, false},
		{"a known peer, and callers from anywhere without UDP", Auto, false, []*Conn{fixed(Auto), anybody(No)}, true},
		{"a caller from anywhere, without UDP", Auto, false, []*Conn{anybody(No)}, false},
		{"callers from anywhere, with and without UDP", Auto, false, []*Conn{anybody(Auto), anybody(No)}, false},
	} {
		if got := ForcesEncap(&Conn{Encap: x.asked}, listed{conns: x.conns}, x.began, here, peer); got != x.want {
			t.Errorf("%s: %v", x.name, got)
		}
	}
}
