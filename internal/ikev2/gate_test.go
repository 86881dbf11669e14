package ikev2

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/suite"
)

// knock sends the n-th IKE_SA_INIT of a stranger to east's gate and returns
// what comes back.
func (p *pair) knock(from string, n int) (ike.Machine, []ike.Send) {
	p.t.Helper()
	msg := initFrom(p, n)
	return p.knockWith(from, msg)
}

func (p *pair) knockWith(from string, msg []byte) (ike.Machine, []ike.Send) {
	p.t.Helper()
	east := p.east
	m, actions := east.gate.Receive(p.now, ike.Received{Local: east.addr, Remote: netip.MustParseAddrPort(from), Msg: msg}, nil)
	if m != nil {
		east.machines = append(east.machines, m)
	}
	sent := len(p.sent)
	east.perform(m, actions)
	var out []ike.Send
	for _, d := range p.sent[sent:] {
		out = append(out, d.Send)
		if len(d.Msg) > len(msg) {
			p.t.Errorf("%d octets are answered with %d", len(msg), len(d.Msg))
		}
	}
	p.flying = nil
	return m, out
}

// initFrom is west's first message with another SPI.
func initFrom(p *pair, n int) []byte {
	sa := NewInitiator(p.west.cfg, p.west.conns[0], p.west.addr, p.east.addr)
	p.west.machines = append(p.west.machines, sa)
	sent := len(p.sent)
	p.west.step(sa, ike.Initiate{})
	msg := clone(p.sent[sent].Msg)
	p.west.machines = p.west.machines[:len(p.west.machines)-1]
	p.flying = nil
	binary.BigEndian.PutUint64(msg, uint64(n)+1)
	return msg
}

func kindOf(t *testing.T, msg []byte) uint16 {
	t.Helper()
	m, err := wire.Parse(msg)
	if err != nil {
		t.Fatal(err)
	}
	ns := m.Notifies()
	if _, ok := m.SA(); ok || len(ns) == 0 {
		return 0
	}
	return ns[0].Kind
}

func anyoneAtEast(t *testing.T) *pair {
	p := newPair(t, 1)
	c := p.east.conns[0]
	c.Template, c.Remote.Addr = true, netip.IPv4Unspecified()
	return p
}

// One source gets three full answers, then cookies; nothing is kept for them.
func TestAdv_RES_05_OneSource(t *testing.T) {
	p := anyoneAtEast(t)
	full := 0
	for i := range 100 {
		m, out := p.knock("192.0.2.1:500", i)
		if len(out) != 1 {
			t.Fatalf("%d answers", len(out))
		}
		if m != nil {
			full++
		} else if kindOf(t, out[0].Msg) != ike.NotifyCookie {
			t.Fatalf("answer %d is no cookie", i)
		}
	}
	if full != 3 || p.east.gate.HalfOpen() != 3 || len(p.east.gate.byMsg) != 3 || len(p.east.gate.bySrc) != 1 {
		t.Errorf("%d full answers, %d half-open", full, p.east.gate.HalfOpen())
	}
}

// Many sources together get thirty, and a /24 or /64 is one source (RES-12).
func TestAdv_RES_06_12_ManySources(t *testing.T) {
	p := anyoneAtEast(t)
	full := 0
	for i := range 500 {
		if m, _ := p.knock(fmt.Sprintf("198.%d.%d.7:500", i/250, i%250), i); m != nil {
			full++
		}
	}
	if full != 30 {
		t.Errorf("%d full answers", full)
	}
	if got := sourceOf(netip.MustParseAddrPort("[2001:db8:1:2:3::1]:500")).String(); got != "2001:db8:1:2::/64" {
		t.Errorf("IPv6 source %s", got)
	}
}

// Half-open IKE SAs end after 30 s, and the gate is as it was.
func TestAdv_RES_10_HalfOpenEnds(t *testing.T) {
	p := anyoneAtEast(t)
	for i := range 50 {
		p.knock(fmt.Sprintf("198.51.%d.7:500", i), i)
	}
	p.pass(31 * time.Second)
	g := p.east.gate
	if len(p.east.machines) != 0 || g.HalfOpen() != 0 || len(g.bySA)+len(g.byMsg)+len(g.bySrc) != 0 {
		t.Errorf("%d machines, %d half-open", len(p.east.machines), g.HalfOpen())
	}
	if _, out := p.knock("198.51.100.7:500", 99); kindOf(t, out[0].Msg) == ike.NotifyCookie {
		t.Error("still asks for cookies")
	}
}

// A cookie is good for its SPI, nonce, address and port, for one change of the
// secret and not for two.
func TestAdv_RES_07_08_CookieBindings(t *testing.T) {
	p := anyoneAtEast(t)
	jar := &p.east.gate.cookies
	in := func(msg []byte, from string) inbound {
		m, err := wire.Parse(msg)
		if err != nil {
			t.Fatal(err)
		}
		return inbound{Header: m.Header, Payloads: m.Payloads, msg: msg, local: p.east.addr, remote: netip.MustParseAddrPort(from)}
	}
	first := initFrom(p, 1)
	cookie := jar.bake(p.now, in(first, "192.0.2.1:500"))
	with := func(base []byte, from string) inbound {
		x := in(base, from)
		x.Payloads = append(wire.Payloads{wire.NewNotify(ike.NotifyCookie, cookie)}, x.Payloads...)
		return x
	}
	otherNonce := initFrom(p, 1) // the same SPI, a fresh nonce
	for _, c := range []struct {
		name string
		in   inbound
		at   time.Duration
		good bool
	}{
		{"as it was", with(first, "192.0.2.1:500"), 0, true},
		{"another address", with(first, "192.0.2.2:500"), 0, false},
		{"another port", with(first, "192.0.2.1:501"), 0, false},
		{"another SPI", with(initFrom(p, 2), "192.0.2.1:500"), 0, false},
		{"another nonce", with(otherNonce, "192.0.2.1:500"), 0, false},
		{"no cookie", in(first, "192.0.2.1:500"), 0, false},
		{"one secret later", with(first, "192.0.2.1:500"), cookieLife, true},
		{"two secrets later", with(first, "192.0.2.1:500"), 2 * cookieLife, false},
	} {
		if got := jar.good(p.now.Add(c.at), c.in); got != c.good {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	for i := range cookie {
		bad := clone(cookie)
		bad[i] ^= 1
		x := in(first, "192.0.2.1:500")
		x.Payloads = append(wire.Payloads{wire.NewNotify(ike.NotifyCookie, bad)}, x.Payloads...)
		jar2 := &cookieJar{rand: p.east.cfg.Rand}
		*jar2 = *jar
		if jar2.good(p.now.Add(cookieLife), x) {
			t.Fatalf("octet %d changed, still good", i)
		}
	}
}

// A full answer is never longer than the request: where it would be, a cookie
// comes first, and with the cookie the answer may be as long as it is.
func TestAdv_RES_01_NoAmplification(t *testing.T) {
	p := anyoneAtEast(t)
	full := initFrom(p, 1)
	m, err := wire.Parse(full)
	if err != nil {
		t.Fatal(err)
	}
	// One proposal with one algorithm of each kind and the shortest nonce: our
	// answer has a longer one.
	sa := saPayload([]suite.Proposal{{
		Protocol: suite.ProtoIKE, Encr: suite.DefaultIKE()[0].Encr[:1], PRF: suite.DefaultIKE()[0].PRF[:1], KE: suite.DefaultIKE()[0].KE[:1],
	}}, nil)
	ke, _ := m.KE()
	nonce := wire.Nonce{Data: make([]byte, 16)}
	lean := wire.Append(nil, m.Header, sa, ke, nonce)
	machine, out := p.knockWith("192.0.2.1:500", lean)
	if machine != nil || len(out) != 1 || kindOf(t, out[0].Msg) != ike.NotifyCookie {
		t.Fatalf("a request of %d octets gets no cookie first", len(lean))
	}
	answer, _ := wire.Parse(out[0].Msg)
	n, _ := answer.Notify(ike.NotifyCookie)
	again := wire.Append(nil, m.Header, n, sa, ke, nonce)
	if machine, out = p.knockWith("192.0.2.1:500", again); machine == nil || len(out) != 1 {
		t.Error("with the cookie it is not let in")
	}
}

// Errors are answered fifty times a second at most, in all.
func TestAdv_RES_03_ErrorBudget(t *testing.T) {
	p := newPair(t, 1) // knows nobody but west
	answers := 0
	for i := range 10000 {
		_, out := p.knockWith(fmt.Sprintf("198.%d.%d.%d:500", i>>16&255, i>>8&255, i&255), versioned(byte(3+i%13)))
		answers += len(out)
	}
	if answers != 50 {
		t.Errorf("%d error replies in no time", answers)
	}
}

func versioned(major byte) []byte {
	h := ike.Header{SPIi: 1, Major: major, Exchange: ike.SAInit, Flags: ike.FlagInitiator, MessageID: 7}
	return wire.Append(nil, h, wire.VendorID{Data: make([]byte, 20)})
}

// Broadcast, multicast, our own address, port 0: never answered.
func TestAdv_RES_04_UnfitAddresses(t *testing.T) {
	p := anyoneAtEast(t)
	for _, from := range []string{"255.255.255.255:500", "224.0.0.1:500", "0.0.0.0:500", "192.0.2.1:0", "202.202.202.202:500"} {
		if m, out := p.knock(from, 1); m != nil || len(out) != 0 {
			t.Errorf("%s is answered", from)
		}
	}
}

// One header of version 3 is answered with fewer octets than it had, and never
// again; knockWith compares the lengths.
func TestAdv_RES_02_VersionThree(t *testing.T) {
	p := anyoneAtEast(t)
	if m, out := p.knockWith("192.0.2.1:500", versioned(3)); m != nil || len(out) != 1 {
		t.Errorf("%d answers", len(out))
	}
	sent := len(p.sent)
	p.pass(time.Hour)
	if len(p.sent) != sent {
		t.Error("it is answered again")
	}
}

// What the gate does with messages that are not the beginning of anything.
func TestAdv_V2C_05_06_07_10_11_Strangers(t *testing.T) {
	base := func(change func(h *ike.Header)) []byte {
		h := ike.Header{SPIi: 1, Major: 2, Exchange: ike.SAInit, Flags: ike.FlagInitiator}
		change(&h)
		return wire.Append(nil, h, wire.VendorID{Data: make([]byte, 20)})
	}
	for _, c := range []struct {
		name   string
		msg    []byte
		answer uint16
	}{
		{"version 3", versioned(3), ike.NotifyInvalidMajorVersion},
		{"version 15", versioned(15), ike.NotifyInvalidMajorVersion},
		{"version 3, too short to answer", wire.Append(nil, ike.Header{SPIi: 1, Major: 3, Exchange: ike.SAInit, Flags: ike.FlagInitiator}), 0},
		{"version 3, a response", base(func(h *ike.Header) { h.Major, h.Flags = 3, 0x28 }), 0},
		{"version 1", base(func(h *ike.Header) { h.Major = 1 }), 0},
		{"version 0", base(func(h *ike.Header) { h.Major = 0 }), 0},
		{"a response to nothing", base(func(h *ike.Header) { h.Flags = ike.FlagResponse }), 0},
		{"a responder SPI", base(func(h *ike.Header) { h.SPIr = 5 }), 0},
		{"a message ID", base(func(h *ike.Header) { h.MessageID = 1 }), 0},
		{"no initiator flag", base(func(h *ike.Header) { h.Flags = 0 }), 0},
		{"IKE_AUTH from nowhere", base(func(h *ike.Header) { h.Exchange, h.MessageID, h.SPIr = ike.Auth, 1, 9 }), 0},
		{"an unknown exchange", base(func(h *ike.Header) { h.Exchange = 240 }), 0},
		{"nothing but a vendor ID", base(func(*ike.Header) {}), 0},
	} {
		p := anyoneAtEast(t)
		m, out := p.knockWith("192.0.2.1:500", c.msg)
		if m != nil || len(p.east.gate.byMsg) != 0 {
			t.Errorf("%s makes a state", c.name)
		}
		if (c.answer != 0) != (len(out) == 1) {
			t.Errorf("%s: %d answers", c.name, len(out))
			continue
		}
		if c.answer != 0 {
			h, _ := ike.ParseHeader(out[0].Msg)
			if kindOf(t, out[0].Msg) != c.answer || h.Major != 2 || h.MessageID != 7 || !h.Response() {
				t.Errorf("%s: answered with %+v", c.name, h)
			}
		}
	}
}

// An unknown critical payload in IKE_SA_INIT is named; nothing is kept.
func TestAdv_V2C_19_CriticalInInit(t *testing.T) {
	p := anyoneAtEast(t)
	m, _ := wire.Parse(initFrom(p, 1))
	msg := wire.Append(nil, m.Header, append(m.Payloads, wire.Unknown{Number: 200, Critical: true})...)
	machine, out := p.knockWith("192.0.2.1:500", msg)
	if machine != nil || len(out) != 1 || kindOf(t, out[0].Msg) != ike.NotifyUnsupportedCritical {
		t.Fatal("not refused")
	}
	r, _ := wire.Parse(out[0].Msg)
	if n, _ := r.Notify(ike.NotifyUnsupportedCritical); len(n.Data) != 1 || n.Data[0] != 200 {
		t.Errorf("names %v", n.Data)
	}
	msg = wire.Append(nil, m.Header, append(m.Payloads, wire.Unknown{Number: 200})...)
	if machine, _ = p.knockWith("192.0.2.1:500", msg); machine == nil {
		t.Error("without the critical bit it should be let in (V2C-18)")
	}
}

// KE payloads of groups that nobody offered, or of the wrong length.
func TestAdv_V2C_32_33_KeyExchange(t *testing.T) {
	for _, c := range []struct {
		group  uint16
		size   int
		answer uint16 // 0: dropped
	}{
		{0, 32, ike.NotifyInvalidKEPayload}, {1025, 32, ike.NotifyInvalidKEPayload}, {65535, 32, ike.NotifyInvalidKEPayload},
		{31, 31, 0}, {31, 33, 0}, {31, 60000, 0}, {19, 63, 0}, {14, 255, 0},
	} {
		p := anyoneAtEast(t)
		m, _ := wire.Parse(initFrom(p, 1))
		nonce, _ := m.Nonce()
		sa, _ := m.SA()
		msg := wire.Append(nil, m.Header, sa, wire.KE{Group: c.group, Data: make([]byte, c.size)}, nonce)
		machine, out := p.knockWith("192.0.2.1:500", msg)
		if machine != nil {
			t.Errorf("group %d with %d octets makes a state", c.group, c.size)
		}
		if (c.answer != 0) != (len(out) == 1) || len(out) == 1 && kindOf(t, out[0].Msg) != c.answer {
			t.Errorf("group %d with %d octets: %d answers", c.group, c.size, len(out))
		}
	}
}

// The same SPI with two nonces is two callers (V2S-48); the same message from
// another port is one, and the answer goes to the new port (V2S-49).
func TestAdv_V2S_48_49_HalfOpenByMessage(t *testing.T) {
	p := anyoneAtEast(t)
	first, second := initFrom(p, 1), initFrom(p, 1)
	a, out := p.knockWith("192.0.2.1:500", first)
	b, _ := p.knockWith("192.0.2.1:500", second)
	if a == nil || b == nil || a == b || p.east.gate.HalfOpen() != 2 {
		t.Fatal("one overwrites the other")
	}
	answer := out[0].Msg
	p.now = p.now.Add(time.Second)
	c, out := p.knockWith("192.0.2.1:1024", first)
	if c != nil || len(out) != 1 || out[0].Remote.Port() != 1024 || string(out[0].Msg) != string(answer) {
		t.Errorf("repeated from another port: %v", out)
	}
	if p.east.gate.HalfOpen() != 2 {
		t.Error("it made another state")
	}
}

// The same request a hundred times: one answer computed, the same octets again,
// at a bounded rate.
func TestAdv_V2S_03_Repeated(t *testing.T) {
	p := anyoneAtEast(t)
	msg := initFrom(p, 1)
	_, out := p.knockWith("192.0.2.1:500", msg)
	answers := 0
	for range 100 {
		_, again := p.knockWith("192.0.2.1:500", msg)
		for _, a := range again {
			answers++
			if string(a.Msg) != string(out[0].Msg) {
				t.Fatal("another answer")
			}
		}
	}
	if answers != replayBurst || len(p.east.machines) != 1 {
		t.Errorf("%d repeated answers, %d machines", answers, len(p.east.machines))
	}
}

// A peer that guesses is not listened to after ten failures in a minute; others
// are.
func TestAdv_V2S_35_Guessing(t *testing.T) {
	p := newPair(t, 1)
	p.west.psk = "a guess"
	for i := range 30 {
		p.west.initiate()
		p.settle()
		if got, want := len(facts[ike.Failed](p.east)), min(i+1, authFailures); got != want {
			t.Fatalf("after %d guesses east looked at %d", i+1, got)
		}
	}
	if len(p.east.gate.failed) != 1 {
		t.Errorf("%d addresses are remembered", len(p.east.gate.failed))
	}
	p.pass(2 * time.Minute)
	p.west.psk = p.east.psk
	p.west.initiate()
	p.settle()
	p.check(1)
}
