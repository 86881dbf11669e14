package ikev2

import (
	"net/netip"
	"slices"
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
)

var (
	nobody    = ike.ID{Kind: ike.IDNULL}
	nullAuth  = []ike.AuthMethod{ike.AuthNULL}
	plainAuth = []ike.AuthMethod{ike.AuthPSK}
)

// anonymous makes west a caller without a name, whom east takes from anywhere.
func anonymous(p *pair) {
	w, e := p.west.conns[0], p.east.conns[0]
	w.Local.Auth, w.Local.ID = nullAuth, nobody
	e.Remote.Auth, e.Remote.ID, e.Remote.Addr, e.Template = nullAuth, nobody, netip.IPv4Unspecified(), true
}

// RFC 7619: each end chooses for itself whether to say who it is.
func TestNull(t *testing.T) {
	for name, arrange := range map[string]func(p *pair){
		"initiator": anonymous,
		"responder": func(p *pair) {
			w, e := p.west.conns[0], p.east.conns[0]
			w.Remote.Auth, w.Remote.ID = nullAuth, nobody
			e.Local.Auth, e.Local.ID = nullAuth, nobody
		},
		"both": func(p *pair) {
			for _, n := range []*node{p.west, p.east} {
				c := n.conns[0]
				c.Local.Auth, c.Remote.Auth, c.Local.ID, c.Remote.ID = nullAuth, nullAuth, nobody, nobody
				n.psk = "" // nothing is looked up
			}
		},
		"one of several ways": func(p *pair) {
			anonymous(p)
			e := p.east.conns[0]
			e.Remote.Auth, e.Remote.ID = []ike.AuthMethod{ike.AuthPubkey, ike.AuthNULL}, ike.ID{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 61)
			arrange(p)
			w, e := p.up()
			if anon := slices.Equal(w.conn.Local.Auth, nullAuth); anon != (e.remoteID == nobody) {
				t.Errorf("east knows west as %s", e.remoteID)
			}
			for _, d := range p.sent {
				if exchangeOf(d) != ike.Auth {
					continue
				}
				ps := open(t, w, d.Msg, d.from == p.west)
				local := d.from.conns[0].Local
				auth, _ := ps.AUTH()
				if want := slices.Equal(local.Auth, nullAuth); (auth.Method == wire.AuthNull) != want {
					t.Errorf("%s proves itself by method %d", d.from.name, auth.Method)
				}
				if says(ps, ike.NotifyInitialContact) && local.ID == nobody {
					t.Error("INITIAL_CONTACT of somebody without a name")
				}
			}
		})
	}
}

// A peer without a name is nobody whatever it calls itself, and ends no IKE SA
// by INITIAL_CONTACT (RFC 7619, 2.2 and 3).
func TestAdv_V2S_29_NullClaims(t *testing.T) {
	p := newPair(t, 62)
	anonymous(p)
	p.west.conns[0].Local.ID = id("@east") // our own, for instance
	_, e := p.up()
	if e.remoteID != nobody {
		t.Errorf("east takes west for %s", e.remoteID)
	}

	p, n, sa := inState(t, stateInitR)
	anonymous(p)
	p.flying = nil
	r := rudeTo(p, n, sa)
	idi := wire.NewIDi(nobody)
	prf := sa.chosen.PRF
	mac := prf.Sum(prf.Sum(sa.keys.pi.Bytes(), []byte("Key Pad for IKEv2")), (&step{SA: sa}).initiatorOctets(idi.Body()))
	ps := plausible(ike.Auth, false)
	ps[0], ps[1] = idi, wire.AUTH{Method: wire.AuthNull, Data: mac}
	r.ask(ike.Auth, append(ps, wire.NewNotify(ike.NotifyInitialContact, nil))...)
	up := facts[ike.IKEUp](p.east)
	if len(up) != 1 || up[0].InitialContact || up[0].RemoteID != nobody {
		t.Errorf("%+v", up)
	}
}

// Nothing but the word null lets anybody in without a proof, and a wrong AUTH
// is refused like a wrong key.
func TestAdv_V2S_52_NullNotAsked(t *testing.T) {
	for name, spoil := range map[string]func(p *pair){
		"the name is wanted":              func(p *pair) { p.east.conns[0].Remote.ID = id("@west") },
		"a proof is wanted":               func(p *pair) { p.east.conns[0].Remote.Auth = plainAuth },
		"a name and a proof are wanted":   func(p *pair) { p.east.conns[0].Remote.ID, p.east.conns[0].Remote.Auth = id("@west"), plainAuth },
		"anybody, who must have a secret": func(p *pair) { p.east.conns[0].Remote.ID, p.east.conns[0].Remote.Auth = ike.ID{}, plainAuth },
	} {
		p := newPair(t, 63)
		anonymous(p)
		spoil(p)
		p.west.initiate()
		p.settle()
		if f := p.west.failure(); f.Notify != ike.NotifyAuthenticationFailed {
			t.Errorf("%s: %s", name, f.Why)
		}
		p.nothing()
	}
}

// A responder that suddenly has no name is refused by who called a named one.
func TestNullResponderNotAsked(t *testing.T) {
	p := newPair(t, 64)
	p.east.conns[0].Local.Auth, p.east.conns[0].Local.ID = nullAuth, id("@east")
	p.west.initiate()
	p.settle()
	if f := p.west.failure(); f.Reason != ike.ReasonAuth {
		t.Error(f.Why)
	}
	p.nothing()
}

// Whoever answers without the keys of this exchange is found out.
func TestNullTiesToKeyExchange(t *testing.T) {
	octets, prf := []byte("message, nonce and identity"), newPair(t, 1).west.conns[0].IKE[0].PRF[0]
	conn := &ike.Conn{Remote: ike.End{Auth: nullAuth}}
	secret := func(b byte) ipsec.Secret { return ipsec.NewSecret([]byte{b, b, b, b}) }
	sig, err := ike.Prove{Conn: conn, Method: ike.AuthNULL, PRF: prf, Octets: octets, Shared: secret(1)}.Run(ike.Env{})
	if err != nil {
		t.Fatal(err)
	}
	v := ike.Verify{Conn: conn, PRF: prf, Octets: octets, Remote: nobody, Auth: sig.(ike.Signature), Shared: secret(1)}
	if r, err := v.Run(ike.Env{}); err != nil || !r.(ike.Verified).Proves(nobody) {
		t.Errorf("%v, %v", r, err)
	}
	for name, spoil := range map[string]func(v *ike.Verify){
		"other keys":    func(v *ike.Verify) { v.Shared = secret(2) },
		"no keys":       func(v *ike.Verify) { v.Shared = ipsec.Secret{} },
		"other octets":  func(v *ike.Verify) { v.Octets = []byte("something else") },
		"cut short":     func(v *ike.Verify) { v.Auth.Data = v.Auth.Data[1:] },
		"a named peer":  func(v *ike.Verify) { v.Remote = id("@west") },
		"not allowed":   func(v *ike.Verify) { v.Conn = &ike.Conn{Remote: ike.End{Auth: plainAuth}} },
		"no connection": func(v *ike.Verify) { v.Conn = nil },
	} {
		bad := v
		spoil(&bad)
		if r, err := bad.Run(ike.Env{}); err == nil {
			t.Errorf("%s: %v", name, r)
		}
	}
}
