package ikev2

import (
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/eap"
	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/keys"
	"cygnet/internal/pki"
	"cygnet/internal/pki/pkitest"
)

// useEAP makes west a road warrior that proves itself by a method of EAP, and
// east a gateway with a certificate.
func useEAP(p *pair, root *pkitest.Cert, m ike.AuthMethod) {
	p.now = pkitest.Now
	west, east := p.west.conns[0], p.east.conns[0]
	p.west.holdings(root, pkitest.Spec{Subject: "CN=west", DNS: []string{"west"}}, `west carol : EAP "Ar3etTnp"`)
	p.east.holdings(root, pkitest.Spec{Subject: "CN=east", DNS: []string{"east"}}, `west carol : EAP "Ar3etTnp"`+"\n"+`dave : EAP "another"`)
	west.Local.Auth, west.Remote.Auth = []ike.AuthMethod{m}, []ike.AuthMethod{ike.AuthPubkey}
	east.Local.Auth, east.Remote.Auth = []ike.AuthMethod{ike.AuthPubkey}, []ike.AuthMethod{m}
	west.Local.Certs, west.Remote.Certs = ike.Certs{File: "own.pem"}, ike.Certs{Accept: true}
	east.Local.Certs = ike.Certs{File: "own.pem"}
	east.Remote.Addr, east.Remote.ID, east.Template = netip.IPv4Unspecified(), ike.ID{}, true
}

// holdings gives a node a certificate below root and secrets.
func (n *node) holdings(root *pkitest.Cert, spec pkitest.Spec, secrets string) {
	leaf := root.Leaf(n.p.t, spec)
	files := map[string]string{
		"/d/cacerts/root.pem": pkitest.PEM(root), "/d/certs/own.pem": pkitest.PEM(leaf), "/d/private/own.pem": leaf.KeyPEM(n.p.t),
		"/secrets": secrets,
	}
	fsys := config.MapFS{Files: files}
	store, problems := pki.Load(fsys, "/d", pkitest.Now, pki.Options{})
	s := config.ParseSecrets(fsys, "/secrets", config.SecretsOptions{})
	for _, p := range append(problems, s.Errors...) {
		n.p.t.Error(p)
	}
	ring := keys.New(keys.Options{})
	ring.Set(s)
	ring.SetCertificates(keys.Certificates{Store: store})
	n.store, n.cfg.Authorities = ring, ring.Authorities
}

func TestEAP(t *testing.T) {
	root := pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"})
	for _, c := range []struct {
		name    string
		method  ike.AuthMethod
		arrange func(p *pair)
		known   string // by east
		rounds  int    // requests of IKE_AUTH, at least: TLS has more where its flights are long
		only    bool
	}{
		{name: "MSCHAPv2", method: ike.AuthEAPMSCHAPv2, known: "@west", rounds: 4},
		{name: "MSCHAPv2, a name of its own", method: ike.AuthEAPMSCHAPv2, known: "@carol", rounds: 5, arrange: func(p *pair) {
			p.west.conns[0].Local.EAPName, p.east.conns[0].Remote.AskName = "carol", true
			p.west.conns[0].Local.ID = id("192.0.2.77") // as a phone says it
		}},
		{name: "MSCHAPv2, the name that the connection is for", method: ike.AuthEAPMSCHAPv2, known: "@carol", rounds: 5, arrange: func(p *pair) {
			p.west.conns[0].Local.EAPName = "carol"
			p.east.conns[0].Remote.AskName, p.east.conns[0].Remote.EAPName = true, "carol"
		}},
		{name: "TLS", method: ike.AuthEAPTLS, known: "@west", rounds: 6},
		{name: "TLS, asked for the name", method: ike.AuthEAPTLS, known: "@west", rounds: 7, arrange: func(p *pair) {
			p.east.conns[0].Remote.AskName = true
			p.west.conns[0].Local.EAPName, p.west.conns[0].Local.ID = "west", id("192.0.2.77")
		}},
		{name: "TLS alone", method: ike.AuthEAPTLS, known: "@west", rounds: 6, only: true, arrange: func(p *pair) {
			p.west.conns[0].Remote.Auth, p.east.conns[0].Local.Auth = []ike.AuthMethod{ike.AuthEAPTLS}, []ike.AuthMethod{ike.AuthEAPTLS}
		}},
		{name: "the second of two methods", method: ike.AuthEAPMSCHAPv2, known: "@west", rounds: 5, arrange: func(p *pair) {
			p.east.conns[0].Remote.Auth = slices.Clone(eapMethods)
		}},
		{name: "before all key exchanges", method: ike.AuthEAPMSCHAPv2, known: "@west", rounds: 4, arrange: hybrid},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, 71)
			useEAP(p, root, c.method)
			if c.arrange != nil {
				c.arrange(p)
			}
			w, e := p.up()
			if e.remoteID.String() != c.known || e.conn.Remote.ID.String() != c.known {
				t.Errorf("east knows west as %s", e.remoteID)
			}
			if w.remoteID.String() != "@east" {
				t.Errorf("west knows east as %s", w.remoteID)
			}
			rounds, proofs := 0, 0
			for _, d := range p.sent {
				if exchangeOf(d) != ike.Auth {
					continue
				}
				ps := open(t, w, d.Msg, d.from == p.west)
				if _, has := ps.AUTH(); has {
					proofs++
				}
				if d.from == p.west {
					rounds++
				}
			}
			want := 3 // east's signature, and one of each end at the end
			if c.only {
				want = 2
			}
			if rounds < c.rounds || proofs != want {
				t.Errorf("%d rounds, %d proofs", rounds, proofs)
			}
			p.pass(9 * time.Hour) // and its rekeying does not need EAP again
			p.check(1)
		})
	}
}

// Every way in which EAP comes to nothing: no SA, nothing left, and the reason
// where it is known.
func TestEAPRefusals(t *testing.T) {
	root := pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"})
	other := pkitest.Root(t, pkitest.Spec{Subject: "CN=Other"})
	for _, c := range []struct {
		name   string
		method ike.AuthMethod
		spoil  func(p *pair)
		west   string
		east   string
	}{
		{"wrong password", ike.AuthEAPMSCHAPv2, func(p *pair) {
			p.west.holdings(root, pkitest.Spec{Subject: "CN=west"}, `west : EAP "wrong"`)
		}, "the server refuses us", `wrong password of user "west"`},
		{"no such user", ike.AuthEAPMSCHAPv2, func(p *pair) {
			p.west.conns[0].Local.EAPName = "mallory"
			p.west.holdings(root, pkitest.Spec{Subject: "CN=west"}, `mallory : EAP "wrong"`)
		}, "the server refuses us", `no EAP secret in ipsec.secrets for user "mallory"`},
		{"no password of ours", ike.AuthEAPMSCHAPv2, func(p *pair) {
			p.west.holdings(root, pkitest.Spec{Subject: "CN=west"}, "")
		}, `no EAP secret in ipsec.secrets for user "west"`, "did not go on"},
		{"another user's name", ike.AuthEAPMSCHAPv2, func(p *pair) { // dave's IDi with carol's password
			p.west.conns[0].Local.ID, p.west.conns[0].Local.EAPName = id("@dave"), "carol"
			p.east.conns[0].Remote.ID = id("@dave")
		}, "AUTHENTICATION_FAILED", "is for '@dave', and EAP has proven '@carol'"},
		{"another user than eap_identity", ike.AuthEAPMSCHAPv2, func(p *pair) {
			p.west.conns[0].Local.EAPName, p.east.conns[0].Remote.EAPName, p.east.conns[0].Remote.AskName = "carol", "dave", true
		}, "AUTHENTICATION_FAILED", `is for user "dave", and EAP has proven '@carol'`},
		{"EAP where none is allowed", ike.AuthEAPMSCHAPv2, func(p *pair) {
			p.east.conns[0].Remote.Auth = []ike.AuthMethod{ike.AuthPubkey}
		}, "AUTHENTICATION_FAILED", "authenticates by EAP-TLS or EAP-MSCHAPv2, which connection"},
		{"no EAP where it is asked for", ike.AuthEAPMSCHAPv2, func(p *pair) {
			p.west.conns[0].Local.Auth = []ike.AuthMethod{ike.AuthPubkey}
		}, "AUTHENTICATION_FAILED", "authenticates by public key, which connection"},
		{"another method", ike.AuthEAPMSCHAPv2, func(p *pair) {
			p.east.conns[0].Remote.Auth = []ike.AuthMethod{ike.AuthEAPTLS}
		}, "the server refuses us", "none of our EAP methods"},
		{"the gateway proves itself by a secret", ike.AuthEAPMSCHAPv2, func(p *pair) {
			p.east.conns[0].Local.Auth = []ike.AuthMethod{ike.AuthPSK}
			p.east.holdings(root, pkitest.Spec{}, ": PSK \"a secret of two strangers\"\nwest : EAP \"Ar3etTnp\"")
		}, "authenticates by pre-shared key, which the connection does not allow", ""},
		{"the gateway wants to prove itself by EAP", ike.AuthEAPTLS, func(p *pair) {
			p.east.conns[0].Local.Auth = []ike.AuthMethod{ike.AuthEAPTLS}
		}, "AUTHENTICATION_FAILED", "wants us to prove ourselves outside EAP"},
		{"the user's certificate names somebody else", ike.AuthEAPTLS, func(p *pair) {
			p.west.holdings(root, pkitest.Spec{Subject: "CN=eve", DNS: []string{"eve"}}, "")
		}, "the server refuses us", "TLS: the certificate of '@west'"},
		{"the user's certificate is a stranger's", ike.AuthEAPTLS, func(p *pair) {
			p.west.holdings(other, pkitest.Spec{Subject: "CN=west", DNS: []string{"west"}}, "")
			p.west.conns[0].Remote.Auth = []ike.AuthMethod{ike.AuthEAPTLS}
			p.east.conns[0].Local.Auth = []ike.AuthMethod{ike.AuthEAPTLS}
		}, "TLS: the certificate of '@east'", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, 72)
			useEAP(p, root, c.method)
			c.spoil(p)
			p.west.initiate()
			p.settle()
			if f := p.west.failure(); f.Reason != ike.ReasonAuth || !strings.Contains(f.Why, c.west) {
				t.Errorf("west: %s", f.Why)
			}
			p.nothing()
			if len(facts[ike.IKEUp](p.west))+len(facts[ike.IKEUp](p.east)) != 0 {
				t.Error("an IKE SA was up")
			}
			var said []string
			for _, f := range facts[ike.Failed](p.east) {
				said = append(said, f.Why.Why)
			}
			if text := strings.Join(said, "; "); !strings.Contains(text, c.east) {
				t.Errorf("east: %s", text)
			}
		})
	}
}

// A server that says EAP-Success at once, and then AUTH without the key, gets
// nowhere; nor does a peer that goes straight to AUTH.
func TestAdv_V2C_47_EAPShortcuts(t *testing.T) {
	root := pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"})
	success := eap.Packet{Code: eap.Success, ID: 1}.Append(nil)
	p := newPair(t, 73)
	useEAP(p, root, ike.AuthEAPMSCHAPv2)
	p.east.store = &shortcut{Ring: p.east.store.(*keys.Ring), reply: eap.Reply{Packet: success, Outcome: eap.Succeeded, Proven: eap.Proven{MSK: ipsec.NewSecret(make([]byte, 64)), Name: "west"}}}
	p.west.initiate()
	p.settle()
	if f := p.west.failure(); !strings.Contains(f.Why, eap.ErrUnproven.Error()) {
		t.Error(f.Why)
	}
	p.nothing()

	for name, ps := range map[string][]wire.Payload{
		"AUTH before the end": {wire.AUTH{Method: wire.AuthSharedKey, Data: make([]byte, 32)}},
		"nothing":             nil,
		"EAP and AUTH of NULL": {wire.EAP{Message: eap.Packet{Code: eap.Response, ID: 200, Type: eap.TypeIdentity}.Append(nil)},
			wire.AUTH{Method: wire.AuthNull}},
	} {
		p := newPair(t, 74)
		useEAP(p, root, ike.AuthEAPMSCHAPv2)
		p.fate = func(d datagram) []datagram { // only the first answer of IKE_AUTH arrives
			if d.from == p.east && exchangeOf(d) == ike.Auth {
				return nil
			}
			return []datagram{d}
		}
		p.west.initiate()
		p.settle()
		e := p.east.machines[0].(*SA)
		if e.state != stateEAPR {
			t.Fatalf("%s", e.stateName())
		}
		r := rudeTo(p, p.east, e)
		if got := r.ask(ike.Auth, ps...); errorOf(got) != ike.NotifyAuthenticationFailed || e.state != stateLinger {
			t.Errorf("%s: %v, %s", name, got, e.stateName())
		}
		if len(facts[ike.IKEUp](p.east)) != 0 {
			t.Errorf("%s: up", name)
		}
	}
}

// shortcut is a key store whose EAP server says what it likes.
type shortcut struct {
	*keys.Ring
	reply eap.Reply
}

func (s *shortcut) EAPServer(*ike.Conn, ike.ID, time.Time, io.Reader) (eap.Talk, error) {
	return s, nil
}

func (s *shortcut) Next([]byte) (eap.Reply, error) { return s.reply, nil }

// Loss and repetition of any message of IKE_AUTH change nothing.
func TestEAPLoss(t *testing.T) {
	root := pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"})
	for _, m := range eapMethods {
		for lost := range 12 {
			p := newPair(t, byte(lost))
			useEAP(p, root, m)
			n := 0
			p.fate = func(d datagram) []datagram {
				if n++; n == lost+3 {
					return nil
				}
				return []datagram{d, d}
			}
			p.west.initiate()
			p.pass(10 * time.Second)
			p.check(1)
		}
	}
}

// Delete while any job of IKE_AUTH is under way: its result comes too late.
func TestDeleteDuringAuth(t *testing.T) {
	root := pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"})
	for _, m := range []ike.AuthMethod{ike.AuthPSK, ike.AuthEAPMSCHAPv2} {
		for _, who := range []string{"west", "east"} {
			for jobs := range 14 {
				p := newPair(t, byte(jobs))
				if m.EAP() {
					useEAP(p, root, m)
				}
				p.west.holdJobs, p.east.holdJobs = true, true
				p.west.initiate()
				for range jobs {
					p.settle()
					for _, n := range []*node{p.west, p.east} {
						if len(n.jobs) > 0 {
							n.workOnce()
							break
						}
					}
				}
				n := p.west
				if who == "east" {
					n = p.east
				}
				if len(n.machines) == 0 {
					continue // nobody has called yet
				}
				for _, machine := range slices.Clone(n.machines) {
					n.step(machine, ike.Delete{})
				}
				p.west.holdJobs, p.east.holdJobs = false, false
				p.west.work()
				p.east.work()
				p.pass(5 * time.Minute)
				if len(p.west.machines)+len(p.east.machines)+len(p.west.plane)+len(p.east.plane) != 0 {
					t.Errorf("method %d, %s after %d jobs: something is left\n%s", m, who, jobs, p)
				}
			}
		}
	}
}
