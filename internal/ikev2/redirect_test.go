package ikev2

import (
	"net/netip"
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

var otherGateway = netip.MustParseAddr("203.0.113.9")

// V2S-40: who is sent elsewhere goes there, if it has said so and may, and
// stays otherwise.
func TestAdv_V2S_40_Redirect(t *testing.T) {
	for _, c := range []struct {
		name    string
		arrange func(p *pair)
		to      netip.Addr // invalid: not sent anywhere
		up      bool       // the tunnel is up instead
	}{
		{"everybody", func(p *pair) { p.east.cfg.RedirectTo = otherGateway }, otherGateway, false},
		{"one connection", func(p *pair) { p.east.conns[0].RedirectTo = otherGateway }, otherGateway, false},
		{"to an IPv6 address", func(p *pair) { p.east.cfg.RedirectTo = netip.MustParseAddr("2001:db8::9") }, netip.MustParseAddr("2001:db8::9"), false},
		{"one of those allowed", func(p *pair) {
			p.east.cfg.RedirectTo = otherGateway
			p.west.conns[0].RedirectWithin = []netip.Addr{netip.MustParseAddr("203.0.113.8"), otherGateway}
		}, otherGateway, false},
		{"not announced", func(p *pair) {
			p.east.cfg.RedirectTo, p.east.conns[0].RedirectTo = otherGateway, otherGateway
			p.west.conns[0].AcceptRedirect = false
		}, netip.Addr{}, true},
		{"nobody is", func(*pair) {}, netip.Addr{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, 95)
			p.west.conns[0].AcceptRedirect = true
			c.arrange(p)
			p.west.initiate()
			p.settle()
			sent := facts[ike.Redirected](p.west)
			if (len(sent) == 1) != c.to.IsValid() || len(sent) == 1 && sent[0].To != c.to {
				t.Fatalf("sent to %v\n%s", sent, p)
			}
			if c.up {
				p.check(1)
				return
			}
			if len(facts[ike.Failed](p.west)) != 0 || len(p.west.plane)+len(p.east.plane) != 0 {
				t.Errorf("something else as well\n%s", p)
			}
			p.nothing()
		})
	}
}

// What anybody could have said sends us nowhere: without our nonce, unasked, to
// where we are, or to no place at all.
func TestAdv_V2S_40_Astray(t *testing.T) {
	to := appendGateway(nil, otherGateway)
	for name, c := range map[string]struct {
		data  func(nonce []byte) []byte
		spoil func(*ike.Conn)
	}{
		"no nonce":        {data: func([]byte) []byte { return to }},
		"another nonce":   {data: func(n []byte) []byte { return append(clone(to), make([]byte, len(n))...) }},
		"part of it":      {data: func(n []byte) []byte { return append(clone(to), n[1:]...) }},
		"to itself":       {data: func(n []byte) []byte { return append(appendGateway(nil, netip.MustParseAddr("202.202.202.202")), n...) }},
		"to nowhere":      {data: func(n []byte) []byte { return append(appendGateway(nil, netip.IPv4Unspecified()), n...) }},
		"to everybody":    {data: func(n []byte) []byte { return append(appendGateway(nil, netip.MustParseAddr("224.0.0.1")), n...) }},
		"to this machine": {data: func(n []byte) []byte { return append(appendGateway(nil, netip.MustParseAddr("127.0.0.1")), n...) }},
		"to a name":       {data: func(n []byte) []byte { return append([]byte{3, 4, 'e', 'v', 'i', 'l'}, n...) }},
		"cut short":       {data: func([]byte) []byte { return to[:3] }},
		"empty":           {data: func([]byte) []byte { return nil }},
		"not announced":   {data: func(n []byte) []byte { return append(clone(to), n...) }, spoil: func(c *ike.Conn) { c.AcceptRedirect = false }},
		"not allowed":     {data: func(n []byte) []byte { return append(clone(to), n...) }, spoil: func(c *ike.Conn) { c.RedirectWithin = []netip.Addr{netip.MustParseAddr("203.0.113.1")} }},
	} {
		p := newPair(t, 96)
		p.west.conns[0].AcceptRedirect = true
		if c.spoil != nil {
			c.spoil(p.west.conns[0])
		}
		w := p.west.initiate()
		before := digest(w)
		h := ike.Header{SPIi: w.spiI, Major: 2, Exchange: ike.SAInit, Flags: ike.FlagResponse}
		p.west.step(w, ike.Received{Local: w.local, Remote: w.remote, Msg: wire.Append(nil, h, wire.NewNotify(ike.NotifyRedirect, c.data(w.hs.ni)))})
		if digest(w) != before || len(facts[ike.Redirected](p.west)) != 0 {
			t.Errorf("%s: it goes", name)
		}
		p.settle()
		p.check(1)
	}
}

// A gateway that others have sent a peer to lets it in, and knows that it was
// sent.
func TestRedirectedFrom(t *testing.T) {
	p := newPair(t, 97)
	p.east.cfg.RedirectTo = otherGateway // and would send it on itself
	c := p.west.conns[0]
	c.AcceptRedirect = true
	c.Remote.Addr = netip.MustParseAddr("203.0.113.1") // who was to be called
	p.up()
	m, err := wire.Parse(p.sent[0].Msg)
	if err != nil {
		t.Fatal(err)
	}
	n, ok := m.Notify(ike.NotifyRedirectedFrom)
	if from, _, good := parseGateway(n.Data); !ok || !good || from != c.Remote.Addr || says(m.Payloads, ike.NotifyRedirectSupported) {
		t.Errorf("%x", n.Data)
	}
}

// A gateway that is about to go sends its peers away while their tunnels stand;
// who did not begin is not sent anywhere.
func TestRedirectedLater(t *testing.T) {
	p := newPair(t, 98)
	for _, n := range []*node{p.west, p.east} {
		n.conns[0].AcceptRedirect = true
	}
	w, e := p.up()
	away := wire.NewNotify(ike.NotifyRedirect, appendGateway(nil, otherGateway))
	rudeTo(p, p.west, w).ask(ike.Informational, away)
	rudeTo(p, p.east, e).ask(ike.Informational, away)
	if n, m := len(facts[ike.Redirected](p.west)), len(facts[ike.Redirected](p.east)); n != 1 || m != 0 {
		t.Errorf("west %d, east %d", n, m)
	}
	p.check(1)
}
