package ikev2

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/pki/pkitest"
	"cygnet/internal/suite"
)

// lose makes a node forget its IKE SAs without a word, but not what its gate
// and its tickets hold.
func (n *node) lose() {
	n.machines, n.jobs = nil, nil
	n.plane, n.out, n.use = map[ipsec.SAID]ipsec.SA{}, map[uint32]ipsec.SAID{}, ipsec.SAID{}
	n.p.flying, n.p.sent, n.reports, n.at = nil, nil, nil, nil
}

func resuming(p *pair) {
	for _, n := range []*node{p.west, p.east} {
		n.conns[0].Resume = true
	}
}

// exchanges lists those of what was sent, requests only.
func (p *pair) exchanges() (list []ike.ExchangeType) {
	for _, d := range p.sent {
		if !responseOf(d) {
			list = append(list, exchangeOf(d))
		}
	}
	return list
}

// A session whose IKE SA is lost is taken up again in two exchanges without a
// proof, and as the same peer, whatever that was proven by; again and again.
func TestResume(t *testing.T) {
	root := pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"})
	for name, arrange := range map[string]func(p *pair){
		"secret": func(*pair) {},
		"keys":   func(p *pair) { useKeys(p, edKey(1), edKey(2)) },
		"hybrid": hybrid,
		"password": func(p *pair) {
			useEAP(p, root, ike.AuthEAPMSCHAPv2)
			p.west.conns[0].Local.EAPName, p.east.conns[0].Remote.AskName = "carol", true
		},
		"road warrior": func(p *pair) {
			e := p.east.conns[0]
			e.Remote.Addr, e.Remote.ID, e.Template = netip.IPv4Unspecified(), ike.ID{}, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 101)
			arrange(p)
			resuming(p)
			_, e := p.up()
			known := e.remoteID
			for i := range 3 {
				p.west.lose()
				p.east.lose()
				p.pass(time.Minute)
				w := p.west.initiate()
				p.settle()
				if got := p.exchanges(); !slices.Equal(got, []ike.ExchangeType{ike.Resume, ike.Auth}) {
					t.Fatalf("round %d: %v\n%s", i, got, p)
				}
				p.check(1)
				e = p.east.machines[0].(*SA)
				if e.remoteID != known || !w.keys.d.Equal(e.keys.d) {
					t.Errorf("round %d: east knows %s", i, e.remoteID)
				}
				p.traffic()
			}
			p.pass(10 * time.Hour) // rekeyings
			p.check(1)
		})
	}
}

// Where the ticket is of no use, the full exchange follows at once.
func TestResumeNot(t *testing.T) {
	for name, spoil := range map[string]func(p *pair){
		"it has run out":                       func(p *pair) { p.pass(9 * time.Hour) },
		"the gateway has another key":          func(p *pair) { p.east.gate = NewGate(p.east.cfg, Limits{}) },
		"the gateway has read its secrets":     func(p *pair) { p.east.gate.RevokeTickets() },
		"the gateway does not want it":         func(p *pair) { p.east.conns[0].Resume = false },
		"the connection is gone":               func(p *pair) { p.east.conns[0].Name = "another" },
		"the proof does not count any more":    func(p *pair) { useKeys(p, edKey(1), edKey(2)) },
		"the algorithms do not count":          func(p *pair) { p.east.conns[0].IKE, p.west.conns[0].IKE = onlyGCM(p), onlyGCM(p) },
		"a PPK is insisted on now":             func(p *pair) { p.east.conns[0].PPK = ike.PPKInsist },
		"it was deleted by our own wish":       nil,
		"the configuration was read again":     func(p *pair) { c := *p.west.conns[0]; p.west.conns[0] = &c },
		"the ticket was used once before":      func(p *pair) { p.west.cfg.tickets.take(p.now, p.west.conns[0]) },
		"the ticket is cut":                    func(p *pair) { change(p, func(b []byte) []byte { return b[:len(b)-1] }) },
		"the ticket is nothing":                func(p *pair) { change(p, func([]byte) []byte { return nil }) },
		"one bit of the ticket is another":     func(p *pair) { change(p, func(b []byte) []byte { b[40] ^= 1; return b }) },
		"the ticket says it is of another key": func(p *pair) { change(p, func(b []byte) []byte { b[0]++; return b }) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 102)
			resuming(p)
			w, _ := p.up()
			if spoil == nil {
				p.west.step(w, ike.Delete{})
				p.settle()
			}
			p.west.lose()
			p.east.lose()
			if spoil != nil {
				spoil(p)
			}
			p.west.initiate()
			p.settle()
			if name == "a PPK is insisted on now" {
				if p.west.failure().Notify != ike.NotifyAuthenticationFailed {
					t.Error(p)
				}
				return
			}
			got := p.exchanges()
			if got[len(got)-1] != ike.Auth || !slices.Contains(got, ike.SAInit) {
				t.Errorf("%v", got)
			}
			p.check(1)
		})
	}
}

// A ticket is its user's: it opens no connection that is for another user now.
func TestNoResumptionWhenReauthIsDue(t *testing.T) {
	p := newPair(t, 107)
	resuming(p)
	for _, n := range []*node{p.west, p.east} {
		n.conns[0].Reauth, n.conns[0].IKELife, n.conns[0].RekeyMargin = true, time.Hour, 10*time.Minute
	}
	w, _ := p.up()
	p.pass(w.auth.at.Sub(p.now) + time.Second)
	if len(facts[ike.ReauthDue](p.west)) == 0 {
		t.Fatal("reauthentication is not due")
	}
	p.sent = nil
	p.west.initiate()
	p.settle()
	if got := p.exchanges(); len(got) == 0 || got[0] != ike.SAInit {
		t.Errorf("exchanges %v", got)
	}
}

func TestResumeOfAnotherUser(t *testing.T) {
	p := newPair(t, 110)
	useEAP(p, pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"}), ike.AuthEAPMSCHAPv2)
	p.west.conns[0].Local.EAPName, p.east.conns[0].Remote.AskName = "carol", true
	resuming(p)
	p.up()
	p.west.lose()
	p.east.lose()
	p.east.conns[0].Remote.EAPName = "dave"
	p.west.initiate()
	p.settle()
	if got := p.exchanges(); !slices.Contains(got, ike.SAInit) {
		t.Errorf("%v", got)
	}
	if len(facts[ike.IKEUp](p.east)) != 0 {
		t.Error("carol is in")
	}
}

func onlyGCM(p *pair) (list []suite.Proposal) {
	for _, x := range p.east.conns[0].IKE {
		x.Encr = x.Encr[:1]
		x.KE = x.KE[1:]
		list = append(list, x)
	}
	return list
}

// change alters the ticket that west has.
func change(p *pair, f func([]byte) []byte) {
	for k, t := range p.west.cfg.tickets {
		t.opaque = f(bytes.Clone(t.opaque))
		p.west.cfg.tickets[k] = t
	}
}

// A gateway that does not answer to the ticket gets the full exchange soon; a
// forged refusal leads to the same.
func TestResumeUnanswered(t *testing.T) {
	p := newPair(t, 103)
	resuming(p)
	p.up()
	p.west.lose()
	p.east.lose()
	p.fate = func(d datagram) []datagram {
		if exchangeOf(d) == ike.Resume {
			return nil
		}
		return []datagram{d}
	}
	p.west.initiate()
	p.pass(resumePatience + time.Second)
	p.check(1)

	// Nothing at all gets through: the ticket is for when it does.
	p = newPair(t, 107)
	resuming(p)
	p.up()
	p.west.lose()
	p.east.lose()
	p.fate = func(datagram) []datagram { return nil }
	p.west.initiate()
	p.pass(2 * time.Minute)
	if len(p.west.machines) != 0 {
		t.Fatal(p)
	}
	p.fate, p.sent = nil, nil
	p.west.initiate()
	p.settle()
	if got := p.exchanges(); !slices.Equal(got, []ike.ExchangeType{ike.Resume, ike.Auth}) {
		t.Errorf("%v", got)
	}
	p.check(1)

	p = newPair(t, 104)
	resuming(p)
	p.up()
	p.west.lose()
	p.east.lose()
	w := p.west.initiate()
	h := ike.Header{SPIi: w.spiI, Major: 2, Exchange: ike.Resume, Flags: ike.FlagResponse}
	p.west.step(w, ike.Received{Local: w.local, Remote: w.remote, Msg: wire.Append(nil, h, wire.NewNotify(ike.NotifyTicketNack, nil))})
	p.settle()
	if got := p.exchanges(); !slices.Contains(got, ike.SAInit) {
		t.Errorf("%v", got)
	}
}

// An error in the clear leads no client from its ticket into a key exchange with
// whoever sent it: AUTH of a resumption is made with nothing but the keys of the
// IKE SA, and proves the gateway only because those come from the ticket.
func TestAdv_MS12_ResumptionTurnedIntoKeyExchange(t *testing.T) {
	p := newPair(t, 108)
	resuming(p)
	p.up()
	p.west.lose()
	p.east.lose()
	p.fate = func(d datagram) []datagram {
		if exchangeOf(d) == ike.Resume {
			return nil
		}
		return []datagram{d}
	}
	w := p.west.initiate()
	h := ike.Header{SPIi: w.spiI, Major: 2, Exchange: ike.Resume, Flags: ike.FlagResponse}
	for _, k := range w.conn.IKE[0].KE {
		lie := wire.NewNotify(ike.NotifyInvalidKEPayload, []byte{byte(k.ID >> 8), byte(k.ID)})
		p.west.step(w, ike.Received{Local: w.local, Remote: w.remote, Msg: wire.Append(nil, h, lie)})
	}
	if got := p.exchanges(); slices.Contains(got, ike.SAInit) {
		t.Fatalf("resuming, and yet %v", got)
	}
	p.pass(resumePatience + time.Second)
	p.check(1)
	if w.hs != nil {
		t.Error("the IKE SA is not up")
	}
}

// A gateway under load asks for a cookie first, in the exchange that it was
// called by (RFC 5723, 4.3.2).
func TestResumeCookie(t *testing.T) {
	p := newPair(t, 109)
	resuming(p)
	p.up()
	p.west.lose()
	p.east.lose()
	p.east.gate.limits.HalfOpen = 0
	p.west.initiate()
	p.settle()
	if got := p.exchanges(); !slices.Equal(got, []ike.ExchangeType{ike.Resume, ike.Resume, ike.Auth}) {
		t.Errorf("%v", got)
	}
	p.check(1)
}

// Whoever has a ticket but not its keys, a listener for instance, gets nowhere,
// and floods of such requests meet the gate like others.
func TestAdv_MS12_StolenTicket(t *testing.T) {
	p := newPair(t, 105)
	resuming(p)
	p.up()
	p.west.lose()
	p.east.lose()
	p.west.initiate()
	request := p.flying[0]
	p.flying = nil
	p.west.machines = nil // the thief has only this
	p.east.receive(request.Send)
	e := p.east.machines[0].(*SA)
	r := rudeTo(p, p.east, e)
	for _, auth := range [][]byte{nil, make([]byte, 32), e.chosen.PRF.Sum(nil, e.hs.request)} {
		if e.state != stateInitR {
			break
		}
		got := r.ask(ike.Auth, append([]wire.Payload{wire.NewIDi(id("@west")), wire.AUTH{Method: wire.AuthSharedKey, Data: auth}}, plausible(ike.Auth, false)[2:]...)...)
		if errorOf(got) != ike.NotifyAuthenticationFailed || len(p.east.plane) != 0 {
			t.Errorf("%v", got)
		}
	}
	if len(facts[ike.IKEUp](p.east)) != 0 {
		t.Error("up")
	}
	h, _ := ike.ParseHeader(request.Msg)
	for i := range 200 {
		h.SPIi++
		msg := clone(request.Msg)
		msg[7] += byte(i + 1)
		p.east.receive(ike.Send{Local: request.Local, Remote: request.Remote, Msg: msg})
	}
	if n := p.east.gate.HalfOpen(); n > 3 {
		t.Errorf("%d half-open IKE SAs of one source without a cookie", n)
	}
}

// A ticket shows nothing of what is in it, and two of the same are not alike.
func TestTicketOpaque(t *testing.T) {
	p := newPair(t, 106)
	jar := ticketJar{rand: p.east.cfg.Rand}
	chosen, _, no := chooseIKE(p.east.conns[0].IKE, saPayload(p.west.conns[0].IKE, nil).Proposals, p.west.conns[0].IKE[0].KE[0].ID)
	if no != nil {
		t.Fatal(no.why)
	}
	s := session{expires: p.now.Add(time.Hour), conn: "west-east", method: ike.AuthPSK, localID: id("@east"), peerID: id("@west"), saidID: id("@west"),
		chosen: chosen.Offer(1, nil), group: chosen.KE.ID, d: ipsec.NewSecret([]byte("thirty-two octets of a secret!!!"))}
	a, b := jar.seal(p.now, s), jar.seal(p.now, s)
	if bytes.Equal(a, b) || bytes.Contains(a, []byte("west")) || bytes.Contains(a, []byte("secret")) {
		t.Error("it shows something")
	}
	got, ok := jar.open(p.now, a)
	if !ok || got.conn != s.conn || got.peerID != s.peerID || got.method != s.method || !got.d.Equal(s.d) || got.group != s.group {
		t.Errorf("%+v", got)
	}
	if _, ok := jar.open(p.now.Add(time.Hour), a); ok {
		t.Error("it does not run out")
	}
	if _, ok := jar.open(p.now.Add(3*ticketKeyLife), a); ok {
		t.Error("its key does not run out")
	}
}

func FuzzTicket(f *testing.F) {
	f.Add([]byte{1, 2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		origin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if s, ok := parseSession(b, origin); ok {
			if again, ok := parseSession(s.append(nil, origin), origin); !ok || again.conn != s.conn || again.peerID != s.peerID || !again.d.Equal(s.d) {
				t.Fatalf("%x", b)
			}
		}
	})
}
