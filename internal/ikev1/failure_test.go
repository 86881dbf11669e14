package ikev1

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Every way an attempt fails has its reason, and leaves nothing behind.
func TestFailures(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*pair)
		reason ike.Reason
		west   string // in west's failure
		east   string // somewhere in what east says
	}{
		{"no answer", func(p *pair) { p.fate = func(datagram) []datagram { return nil } }, ike.ReasonSilent,
			"max number of retransmissions (2) reached STATE_MAIN_I1.  No response (or no acceptable response) to our first IKE message", ""},
		{"no connection", func(p *pair) { p.east.conns = nil }, ike.ReasonSilent, "STATE_MAIN_I1", "but no connection has been authorized"},
		{"IKEv2 only", func(p *pair) { p.east.conns[0].Version = 2 }, ike.ReasonSilent, "STATE_MAIN_I1", "no connection has been authorized"},
		{"phase 1 proposal", func(p *pair) { p.east.conns[0].IKE = suite.FreeSWANIKE() }, ike.ReasonProposal,
			"NO-PROPOSAL-CHOSEN", "no acceptable Oakley Transform"},
		{"method", func(p *pair) { p.east.useOnly(ike.AuthPubkey) }, ike.ReasonProposal,
			"NO-PROPOSAL-CHOSEN", "policy does not allow OAKLEY_PRESHARED_KEY authentication.  Attribute OAKLEY_AUTHENTICATION_METHOD"},
		{"nothing in IKEv1", func(p *pair) { p.west.conns[0].IKE = parsed(suite.ParseIKE, "aes_gcm256-sha2_256-x25519") }, ike.ReasonProposal,
			"nothing of the connection's IKE proposal exists in IKEv1", ""},
		{"never", func(p *pair) { p.west.useOnly(ike.AuthNever) }, ike.ReasonAuth, "no way to authenticate", ""},
		{"wrong secret", func(p *pair) { p.east.psk = "wrong" }, ike.ReasonAuth,
			"STATE_MAIN_I3.  Possible authentication failure", "probable authentication failure (mismatch of preshared secrets?): malformed payload in packet"},
		{"no secret at the initiator", func(p *pair) { p.west.psk = "" }, ike.ReasonAuth, "Can't authenticate: no preshared key found for `@west' and `@east'", ""},
		{"no secret at the responder", func(p *pair) { p.east.psk = "" }, ike.ReasonSilent, "STATE_MAIN_I2", "Can't authenticate: no preshared key found"},
		{"initiator's identity", func(p *pair) { p.west.conns[0].Local.ID = mustID("@mallory") }, ike.ReasonAuth,
			"the peer refuses us, '@mallory': INVALID-ID-INFORMATION", "no suitable connection for peer '@mallory'"},
		{"responder's identity", func(p *pair) { p.east.conns[0].Local.ID = mustID("@mallory") }, ike.ReasonAuth,
			"we require peer to have ID '@east', but peer declares '@mallory'", ""},
		{"no private key", func(p *pair) { p.useRSA(); p.west.signer = nil }, ike.ReasonAuth, "unable to locate my private key for RSA Signature", ""},
		{"initiator's key", func(p *pair) { p.useRSA(); p.west.signer = p.east.signer }, ike.ReasonAuth,
			"AUTHENTICATION-FAILED", "Signature check (on '@west') failed (wrong key?"},
		{"responder's key", func(p *pair) { p.useRSA(); p.east.signer = p.west.signer }, ike.ReasonAuth, "Signature check (on '@east') failed (wrong key?", ""},
		{"no public key", func(p *pair) { p.useRSA(); p.west.public = nil }, ike.ReasonAuth, "no RSA public key known for '@east'", ""},
		{"phase 2 proposal", func(p *pair) { p.east.conns[0].ESP = withKE(parsed(suite.ParseESP, "aes128-sha1"), 14) }, ike.ReasonProposal,
			"the peer refuses the IPsec SA: NO-PROPOSAL-CHOSEN", "no acceptable Proposal in IPsec SA"},
		{"phase 2 group", func(p *pair) {
			p.west.conns[0].ESP = withKE(p.west.conns[0].ESP, 14)
			p.east.conns[0].IKE[0].KE = append(p.east.conns[0].IKE[0].KE, suite.KEByID(19))
			p.west.conns[0].IKE = parsed(suite.ParseIKE, "aes256-sha2_256-ecp256")
			p.west.conns[0].ESP[0].KE = []*suite.KE{suite.KEByID(15)}
		}, ike.ReasonProposal,
			"NO-PROPOSAL-CHOSEN", "policy does not allow group"},
		{"mode", func(p *pair) { p.hosts(); p.east.conns[0].Mode = ipsec.Transport }, ike.ReasonProposal, "NO-PROPOSAL-CHOSEN", "the connection is for transport mode"},
		{"nets", func(p *pair) {
			p.east.conns[0].Local.TS[0] = ipsec.TSOf(netip.MustParsePrefix("192.168.201.0/24"), 0, ipsec.Ports{})
		}, ike.ReasonTS,
			"INVALID-ID-INFORMATION", "cannot respond to IPsec SA request because no connection is known for 192.168.200.0/24===202.202.202.202[@east]...101.101.101.101[@west]===192.168.100.0/24"},
		{"several nets", func(p *pair) { c := p.west.conns[0]; c.Local.TS = append(c.Local.TS, c.Local.TS[0]) }, ike.ReasonTS, "write one connection for each", ""},
		{"range", func(p *pair) { p.west.conns[0].Local.TS[0].Start = p.west.conns[0].Local.TS[0].Start.Next() }, ike.ReasonTS, "is not one", ""},
		{"no SPI at the initiator", func(p *pair) { p.west.noSPI = true }, ike.ReasonPlane, "the data plane gives no SPI", ""},
		{"no SPI at the responder", func(p *pair) { p.east.noSPI = true }, ike.ReasonProposal, "NO-PROPOSAL-CHOSEN", "the data plane gives no SPI"},
		{"no bundles", func(p *pair) {
			p.both(func(c *ike.Conn) { c.AH = parsed(suite.ParseAH, "sha1") })
			p.west.cfg.Bundles = false
		}, ike.ReasonPlane, "no AH around ESP", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPair(t, 40)
			test.change(p)
			p.west.initiate()
			p.pass(10 * time.Minute)
			why := p.west.failure()
			if why.Reason != test.reason || !strings.Contains(why.Why, test.west) {
				t.Errorf("%s: %q\n%s", why.Reason, why.Why, p)
			}
			if test.east != "" && !p.east.said(test.east) {
				t.Errorf("east does not say %q\n%s", test.east, p)
			}
			if len(p.west.plane)+len(p.east.plane) != 0 {
				t.Errorf("SAs are left\n%s", p)
			}
			p.pass(5 * time.Hour)
			if len(p.west.machines)+len(p.east.machines) != 0 {
				t.Errorf("machines are left\n%s", p)
			}
			if n := p.east.gate.HalfOpen() + p.east.gate.greetings.Len(); n != 0 && p.east.gate.halfOpen.Len() != 0 {
				t.Errorf("%d half-open", n)
			}
		})
	}
}

func (n *node) useOnly(m ike.AuthMethod) {
	c := n.conns[0]
	c.Local.Auth, c.Remote.Auth = []ike.AuthMethod{m}, []ike.AuthMethod{m}
}

func (p *pair) hosts() {
	p.west.conns[0], p.east.conns[0] = connection("h", p.west, p.east, "", ""), connection("h", p.east, p.west, "", "")
}

// A wrong secret is told to nobody: east's side of it is one message that never
// comes (V1-06).
func TestAdv_V1_06(t *testing.T) {
	p := newPair(t, 41)
	p.east.psk = "wrong"
	p.west.initiate()
	p.settle()
	said := len(p.sent)
	p.pass(5 * time.Second)
	if said != 5 { // MI1 to MI3, MR1, MR2
		t.Errorf("%d messages\n%s", said, p)
	}
	p.pass(10 * time.Minute)
	for _, d := range p.sent[said:] {
		if d.from == p.east {
			t.Fatalf("east answers: %v", headOf(d))
		}
	}
	if len(p.east.machines) != 0 {
		t.Error("east's machine stays")
	}
	p.east.psk = p.west.psk
	p.west.initiate()
	p.settle()
	p.check(1)
}

// freeswan.md 6.5: after 10 and 30 s, the end after 70; with keyingtries=0
// twenty retransmissions of the first message.
func TestRetransmission(t *testing.T) {
	p := newPair(t, 42)
	p.fate = func(datagram) []datagram { return nil }
	p.west.initiate()
	p.pass(20 * time.Minute)
	var at []int
	for i, r := range p.west.reports {
		if _, ok := r.Fact.(ike.Retransmit); ok {
			at = append(at, int(p.west.at[i].Seconds()))
		}
		if _, ok := r.Fact.(ike.Failed); ok && p.west.at[i] != 70*time.Second {
			t.Errorf("gives up after %s", p.west.at[i])
		}
	}
	if len(at) != 2 || at[0] < 9 || at[0] > 11 || at[1] < 27 || at[1] > 33 {
		t.Errorf("retransmissions after %d s\n%s", at, p)
	}
	p = newPair(t, 43)
	p.west.conns[0].KeyingTries = 0
	p.fate = func(datagram) []datagram { return nil }
	p.west.initiate()
	p.pass(time.Hour)
	n := len(facts[ike.Retransmit](p.west))
	if n < 19 || n > 21 {
		t.Errorf("%d retransmissions", n)
	}
	for i, r := range p.west.reports {
		if _, ok := r.Fact.(ike.Failed); ok && p.west.at[i] != 790*time.Second {
			t.Errorf("gives up after %s", p.west.at[i])
		}
	}
}

// Whatever one message is lost, or comes twice, or late: the tunnel comes up,
// and once.
func TestLossDuplicatesReorder(t *testing.T) {
	for lost := range 9 {
		p := newPair(t, 44)
		n := 0
		p.fate = func(d datagram) []datagram {
			n++
			if n == lost+1 {
				return nil
			}
			return []datagram{d}
		}
		p.west.initiate()
		p.pass(2 * time.Minute)
		p.check(1)
		p.once()
	}
	for twice := range 9 {
		p := newPair(t, 45)
		n := 0
		p.fate = func(d datagram) []datagram {
			n++
			if n == twice+1 {
				return []datagram{d, d, d}
			}
			return []datagram{d}
		}
		p.west.initiate()
		p.pass(2 * time.Minute)
		p.check(1)
		p.once()
	}
	// A path that loses, doubles and reorders by chance.
	for seed := byte(46); seed < 86; seed++ {
		p := newPair(t, seed)
		if seed%4 == 0 {
			p.useNAT()
		}
		var late []datagram
		dice := newNode(p, "dice", westAddr, seed+7).cfg.Rand
		p.fate = func(d datagram) []datagram {
			var b [1]byte
			dice.Read(b[:])
			out := append([]datagram{}, late...)
			late = nil
			switch {
			case b[0] < 50:
			case b[0] < 90:
				out = append(out, d, d)
			case b[0] < 130:
				late = []datagram{d}
			default:
				out = append([]datagram{d}, out...)
			}
			return out
		}
		w := p.west.initiate()
		p.pass(3 * time.Minute)
		p.fate = nil
		p.pass(10 * time.Minute)
		if w.state == stateUp && len(facts[ike.ChildUp](p.west)) > 0 && len(facts[ike.ChildUp](p.east)) > 0 {
			p.usable()
		} else if len(facts[ike.Failed](p.west)) == 0 {
			t.Fatalf("seed %d: neither up nor failed\n%s", seed, p)
		}
	}
}

func (p *pair) once() {
	p.t.Helper()
	for _, n := range []*node{p.west, p.east} {
		if len(facts[ike.IKEUp](n)) != 1 || len(facts[ike.ChildUp](n)) != 1 || len(facts[ike.Failed](n)) != 0 {
			p.t.Fatal(p)
		}
	}
}

// The same seed gives the same octets.
func TestDeterminism(t *testing.T) {
	run := func() (out []string) {
		p := newPair(t, 90)
		p.up()
		p.pass(9 * time.Hour)
		for _, d := range p.sent {
			out = append(out, string(d.Msg))
		}
		return append(out, p.String())
	}
	a, b := run(), run()
	if strings.Join(a, "|") != strings.Join(b, "|") {
		t.Error("two runs differ")
	}
}

// Two RSA road warriors from one address, each with its connection and key; the
// same with pre-shared keys uses one secret for both (R6.5).
func TestRoadWarriors(t *testing.T) {
	for _, name := range []string{"@road1", "@road2"} {
		p := newPair(t, 91)
		p.useRSA()
		base := *p.east.conns[0]
		p.east.conns = nil
		for _, id := range []string{"@road1", "@road2"} {
			c := base
			c.Name, c.Template = id, true
			c.Remote.Addr, c.Remote.ID = netip.IPv4Unspecified(), mustID(id)
			p.east.conns = append(p.east.conns, &c)
		}
		p.west.conns[0].Local.ID = mustID(name)
		p.up()
		if up := facts[ike.IKEUp](p.east); up[0].RemoteID != mustID(name) {
			t.Errorf("%+v", up)
		}
		last := p.east.reports[len(p.east.reports)-1]
		if last.Conn.Name != name || last.Conn.Instance == 0 || last.Conn.Remote.Addr != westAddr.Addr() {
			t.Errorf("%s is taken for %s", name, last.Conn.Title())
		}
	}
	for _, name := range []string{"@road1", "@road2"} {
		p := newPair(t, 92)
		p.east.psks = map[ike.ID]string{ike.IDOfAddr(westAddr.Addr()): p.west.psk, mustID("@road2"): "another"}
		base := *p.east.conns[0]
		p.east.conns = nil
		for _, id := range []string{"@road1", "@road2"} {
			c := base
			c.Name, c.Template = id, true
			c.Remote.Addr, c.Remote.ID = netip.IPv4Unspecified(), mustID(id)
			p.east.conns = append(p.east.conns, &c)
		}
		p.west.conns[0].Local.ID = mustID(name)
		p.west.initiate()
		p.pass(2 * time.Minute)
		up := len(facts[ike.IKEUp](p.east)) == 1
		if up != (name == "@road1") { // no switch to a connection with another secret
			t.Errorf("%s: up %t\n%s", name, up, p)
		}
	}
}

// R13.11: a peer that sends no client IDs reaches the forms without a subnet
// on its side, and no other.
func TestPeerWithoutClientIDs(t *testing.T) {
	p := newPair(t, 93)
	p.west.conns[0] = connection("host", p.west, p.east, "", "")
	p.east.conns = append(p.east.conns, connection("host", p.east, p.west, "", ""))
	p.up()
	p = newPair(t, 94)
	p.west.conns[0] = connection("host", p.west, p.east, "", "")
	p.west.initiate()
	p.settle()
	if why := p.west.failure(); why.Reason != ike.ReasonTS || !p.east.said("no connection is known for 202.202.202.202[@east]...101.101.101.101[@west]") {
		t.Error(p)
	}
}

func TestDelete(t *testing.T) {
	// While negotiating, in each state.
	for n := range 6 {
		p := newPair(t, 95)
		count := 0
		p.fate = func(d datagram) []datagram {
			if count++; count > n {
				return nil
			}
			return []datagram{d}
		}
		w := p.west.initiate()
		p.settle()
		p.west.step(w, ike.Delete{})
		p.fate = nil
		p.pass(10 * time.Hour)
		if len(p.west.machines) != 0 || len(p.west.plane) != 0 {
			t.Errorf("after %d messages: %s", n, p)
		}
		if w.isUp {
			t.Error("still up")
		}
	}
}
