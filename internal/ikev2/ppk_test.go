package ikev2

import (
	"strings"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/keys"
)

// secrets gives a node what ipsec.secrets says.
func (n *node) secrets(text string) {
	s := config.ParseSecrets(config.MapFS{Files: map[string]string{"/s": text}}, "/s", config.SecretsOptions{})
	for _, p := range s.Errors {
		n.p.t.Error(p)
	}
	ring := keys.New(keys.Options{})
	ring.Set(s)
	n.store = ring
}

const (
	onlyPSK = ": PSK \"correct horse battery staple\"\n"
	ppkA    = "@west @east : PPKS \"alpha\" 0x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
	ppkB    = "@west @east : PPKS \"beta\" 0x1111456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
	ppkBad  = "@west @east : PPKS \"alpha\" 0x2222456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
)

// V2S-36 and RFC 8784, section 3: every combination of what the two ends want
// and have. "" is failure.
func TestAdv_V2S_36_PPK(t *testing.T) {
	for _, c := range []struct {
		name       string
		west, east ike.PPKUse
		westHas    string
		eastHas    string
		ids        string // ppk-ids= of west
		used       string // the PPK
		fails      string // at west; "refused" at the responder's word
	}{
		{name: "neither", westHas: ppkA, eastHas: ppkA},
		{name: "both may", west: ike.PPKPermit, east: ike.PPKPermit, westHas: ppkA, eastHas: ppkA, used: "alpha"},
		{name: "both must", west: ike.PPKInsist, east: ike.PPKInsist, westHas: ppkA, eastHas: ppkA, used: "alpha"},
		{name: "the initiator must", west: ike.PPKInsist, east: ike.PPKPermit, westHas: ppkA, eastHas: ppkA, used: "alpha"},
		{name: "the responder must", west: ike.PPKPermit, east: ike.PPKInsist, westHas: ppkA, eastHas: ppkA, used: "alpha"},
		{name: "the second, by name", west: ike.PPKInsist, east: ike.PPKInsist, westHas: ppkA + ppkB, eastHas: ppkA + ppkB, ids: "beta", used: "beta"},
		{name: "the initiator has none", west: ike.PPKPermit, east: ike.PPKPermit, eastHas: ppkA},
		{name: "the responder has none", west: ike.PPKPermit, east: ike.PPKPermit, westHas: ppkA},
		{name: "the responder has another", west: ike.PPKPermit, east: ike.PPKPermit, westHas: ppkA, eastHas: ppkB},
		{name: "only the initiator would", west: ike.PPKPermit, westHas: ppkA, eastHas: ppkA},
		{name: "only the responder would", east: ike.PPKPermit, westHas: ppkA, eastHas: ppkA},
		{name: "the initiator must, the responder would not", west: ike.PPKInsist, westHas: ppkA, eastHas: ppkA, fails: "does not do PPK"},
		{name: "the initiator must, and has none", west: ike.PPKInsist, east: ike.PPKPermit, eastHas: ppkA, fails: "no PPK found for"},
		{name: "the initiator must, the responder has none", west: ike.PPKInsist, east: ike.PPKPermit, westHas: ppkA, fails: "refused"},
		{name: "the responder must, the initiator would not", east: ike.PPKInsist, westHas: ppkA, eastHas: ppkA, fails: "refused"},
		{name: "the responder must, the initiator has none", west: ike.PPKPermit, east: ike.PPKInsist, eastHas: ppkA, fails: "refused"},
		{name: "the responder must, and has none", west: ike.PPKPermit, east: ike.PPKInsist, westHas: ppkA, fails: "refused"},
		{name: "one name, two keys", west: ike.PPKPermit, east: ike.PPKPermit, westHas: ppkA, eastHas: ppkBad, fails: "refused"},
	} {
		for _, method := range []string{"psk", "pubkey", "null"} {
			t.Run(c.name+", "+method, func(t *testing.T) {
				p := newPair(t, 81)
				switch method {
				case "pubkey":
					useKeys(p, edKey(1), edKey(2))
				case "null":
					for _, n := range []*node{p.west, p.east} {
						n.conns[0].Local.Auth, n.conns[0].Remote.Auth = nullAuth, nullAuth
						n.conns[0].Remote.ID = nobody
					}
				}
				p.west.conns[0].PPK, p.east.conns[0].PPK = c.west, c.east
				if c.ids != "" {
					p.west.conns[0].PPKIDs = []string{c.ids}
				}
				p.west.secrets(onlyPSK + anyPeer(c.westHas))
				p.east.secrets(onlyPSK + anyPeer(c.eastHas))
				for _, n := range []*node{p.west, p.east} {
					n.store = &ringAndKeys{n.store.(*keys.Ring), &n.keyring}
				}
				if c.fails != "" {
					p.west.initiate()
					p.settle()
					want := c.fails
					if want == "refused" {
						want = "AUTHENTICATION_FAILED"
					}
					if f := p.west.failure(); !strings.Contains(f.Why, want) {
						t.Error(f.Why)
					}
					p.nothing()
					return
				}
				w, e := p.up()
				if !w.keys.d.Equal(e.keys.d) || !w.keys.pi.Equal(e.keys.pi) || !w.keys.pr.Equal(e.keys.pr) {
					t.Error("the two have other keys")
				}
				for _, n := range []*node{p.west, p.east} {
					if got := usedPPK(n); got != c.used {
						t.Errorf("%s uses %q", n.name, got)
					}
				}
				p.pass(10 * time.Hour)
				p.check(1)
			})
		}
	}
}

// A PPK that is named in IKE_AUTH, but not agreed on in IKE_SA_INIT, is not used
// (RFC 8784, 3): a responder that insists must not take the name for the key.
func TestAdv_V2S_36_PPKNamedOnly(t *testing.T) {
	p := newPair(t, 82)
	p.east.conns[0].PPK = ike.PPKInsist
	p.west.secrets(onlyPSK)
	p.east.secrets(onlyPSK + ppkA)
	w := NewInitiator(p.west.cfg, p.west.conns[0], p.west.addr, p.east.addr)
	p.west.machines = append(p.west.machines, w)
	w.hs.ppk.name = "alpha" // said, and never had
	p.west.step(w, ike.Initiate{})
	p.settle()
	if f := p.west.failure(); f.Notify != ike.NotifyAuthenticationFailed {
		t.Errorf("%+v", f)
	}
	if len(facts[ike.IKEUp](p.east)) != 0 {
		t.Error("up without the PPK")
	}
}

// anyPeer leaves the index out, for ends whose names prove nothing.
func anyPeer(text string) string { return strings.ReplaceAll(text, "@west @east ", "") }

// ringAndKeys takes PPKs and PSKs from a ring and signs with the keys of the test.
type ringAndKeys struct {
	*keys.Ring
	own *keyring
}

func (b *ringAndKeys) Sign(c *ike.Conn, octets []byte, hashes []uint16) (ike.Signature, error) {
	return b.own.Sign(c, octets, hashes)
}

func (b *ringAndKeys) Public(c *ike.Conn, id ike.ID) ([]ike.PublicKey, error) {
	return b.own.Public(c, id)
}

func usedPPK(n *node) string {
	for _, f := range facts[ike.Note](n) {
		if rest, ok := strings.CutPrefix(f.Text, "using PPK "); ok {
			return strings.Trim(rest, `"`)
		}
	}
	return ""
}
