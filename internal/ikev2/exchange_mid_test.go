package ikev2

import (
	"bytes"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/sha256"
	"math/rand/v2"
	"slices"
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// hybrid makes both ends prefer ML-KEM-768 after the classical key exchange.
func hybrid(p *pair) {
	for _, n := range []*node{p.west, p.east} {
		n.conns[0].IKE = suite.DefaultIKEv2()
	}
}

func exchanges(p *pair, from int) (out []ike.ExchangeType) {
	for _, d := range p.sent[from:] {
		out = append(out, exchangeOf(d))
	}
	return out
}

// west → east: IKE_SA_INIT, IKE_INTERMEDIATE {KE}, IKE_AUTH.
func TestIntermediate(t *testing.T) {
	p := newPair(t, 1)
	hybrid(p)
	w, e := p.up()
	if got := slices.Compact(exchanges(p, 0)); !slices.Equal(got, []ike.ExchangeType{ike.SAInit, ike.Intermediate, ike.Auth}) {
		t.Errorf("%v", got)
	}
	if s := facts[ike.IKEUp](p.west)[0].Suite; s != e.chosen.String() || w.chosen.AddKE[0] == nil {
		t.Errorf("%s", s)
	}
	if !bytes.Equal(w.keys.d.Bytes(), e.keys.d.Bytes()) {
		t.Error("the ends have different keys")
	}
}

// One end, or the man in the middle's view of it, is classical.
func TestIntermediateOptional(t *testing.T) {
	for _, who := range []string{"west", "east"} {
		p := newPair(t, 1)
		hybrid(p)
		n := p.west
		if who == "east" {
			n = p.east
		}
		n.conns[0].IKE = suite.DefaultIKE()
		w, _ := p.up()
		if len(p.sent) != 4 || len(w.chosen.Additional()) != 0 {
			t.Errorf("%s is classical: %d messages, %s", who, len(p.sent), w.chosen)
		}
	}
}

// A connection that demands ML-KEM has no peers without it, and the attempt
// ends before anybody has said who it is (V2S-37).
func TestAdv_V2S_37_Required(t *testing.T) {
	p := newPair(t, 1)
	hybrid(p)
	p.west.conns[0].IKE = p.west.conns[0].IKE[:2]
	p.east.conns[0].IKE = suite.DefaultIKE()
	w := p.west.initiate()
	p.pass(2 * defaultRetransmitTotal)
	if w.state != stateDead || p.west.failure().Notify != ike.NotifyNoProposalChosen {
		t.Errorf("%v", p.west.failure())
	}
	if slices.Contains(exchanges(p, 0), ike.Auth) {
		t.Error("IKE_AUTH was sent")
	}
}

// A man in the middle takes something out of IKE_SA_INIT: AUTH tells (V2S-37).
func TestAdv_V2S_37_StrippedOfHybrid(t *testing.T) {
	for _, strip := range []uint16{ike.NotifyIntermediateSupported, ike.NotifySignatureHashAlgorithms, ike.NotifyFragmentationSupported} {
		p := newPair(t, 1)
		hybrid(p)
		p.fate = func(d datagram) []datagram {
			if exchangeOf(d) != ike.SAInit || responseOf(d) {
				return []datagram{d}
			}
			m, err := wire.Parse(d.Msg)
			if err != nil {
				t.Fatal(err)
			}
			ps := slices.DeleteFunc(m.Payloads, func(x wire.Payload) bool {
				n, ok := x.(wire.Notify)
				return ok && n.Kind == strip
			})
			d.Msg = wire.Append(nil, m.Header, ps...)
			return []datagram{d}
		}
		w := p.west.initiate()
		p.pass(2 * defaultRetransmitTotal)
		if w.state == stateUp || len(facts[ike.IKEUp](p.west))+len(facts[ike.IKEUp](p.east)) != 0 {
			t.Errorf("without %s nobody notices\n%s", ike.NotifyName(strip), p)
		}
	}
}

// Somebody who knows SK(0), as a quantum computer would, changes one bit inside
// IKE_INTERMEDIATE: both ends refuse.
func TestAdv_V2S_41_ChangedInside(t *testing.T) {
	for _, response := range []bool{false, true} {
		p := newPair(t, 1)
		hybrid(p)
		var w *SA
		p.fate = func(d datagram) []datagram {
			if exchangeOf(d) != ike.Intermediate || responseOf(d) != response || isFragment(d.Msg) {
				return []datagram{d}
			}
			i, r, err := w.keys.ciphers(w.chosen)
			if err != nil {
				t.Fatal(err)
			}
			c := i
			if response {
				c = r
			}
			sk, err := wire.OpenSK(d.Msg, c)
			if err != nil {
				t.Fatal(err)
			}
			h, _ := ike.ParseHeader(d.Msg)
			// In the request a bit of the seed of the matrix, which any
			// value of is a good key; in the response any bit.
			sk.Body[len(sk.Body)-1] ^= 1
			d.Msg = sealRaw(h, sk.Next, sk.Body, c)
			return []datagram{d}
		}
		for _, n := range []*node{p.west, p.east} {
			n.conns[0].FragmentSize = 2000
		}
		w = NewInitiator(p.west.cfg, p.west.conns[0], p.west.addr, p.east.addr)
		p.west.machines = append(p.west.machines, w)
		p.west.step(w, ike.Initiate{})
		p.pass(2 * defaultRetransmitTotal)
		if len(facts[ike.IKEUp](p.west))+len(facts[ike.IKEUp](p.east)) != 0 || len(p.west.plane)+len(p.east.plane) != 0 {
			t.Errorf("nobody notices\n%s", p)
		}
	}
}

// IKE_INTERMEDIATE without its turn, without KE, with another group or length:
// the attempt ends. IKE_AUTH before its turn too.
func TestAdv_CRY_17_WrongIntermediate(t *testing.T) {
	kem := suite.KEByID(36)
	good := wire.KE{Group: 36, Data: make([]byte, kem.Public)}
	for name, c := range map[string]struct {
		x  ike.ExchangeType
		ps []wire.Payload
	}{
		"no KE":        {ike.Intermediate, nil},
		"group":        {ike.Intermediate, []wire.Payload{wire.KE{Group: 31, Data: make([]byte, 32)}}},
		"short":        {ike.Intermediate, []wire.Payload{wire.KE{Group: 36, Data: good.Data[1:]}}},
		"long":         {ike.Intermediate, []wire.Payload{wire.KE{Group: 36, Data: append([]byte{0}, good.Data...)}}},
		"coefficients": {ike.Intermediate, []wire.Payload{wire.KE{Group: 36, Data: bytes.Repeat([]byte{0xff}, kem.Public)}}},
		"two":          {ike.Intermediate, []wire.Payload{good, good}},
		"AUTH first":   {ike.Auth, plausible(ike.Auth, false)},
	} {
		p := newPair(t, 21)
		hybrid(p)
		p.west.initiate()
		d := p.flying[0]
		p.flying = nil
		d.to.receive(d.Send)
		e := p.east.machines[0].(*SA)
		r := rudeTo(p, p.east, e)
		if got := errorOf(r.ask(c.x, c.ps...)); got != ike.NotifyInvalidSyntax || e.state != stateLinger {
			t.Errorf("%s: answered with %d, in %s", name, got, e.stateName())
		}
	}
}

// A ciphertext that means nothing gives a secret that nobody shares, and no
// other sign (FIPS 203, implicit rejection): IKE_AUTH finds out.
func TestAdv_CRY_16_RandomCiphertext(t *testing.T) {
	kem := suite.KEByID(36)
	for _, size := range []int{kem.Answer - 1, kem.Answer, kem.Answer + 1} {
		p := newPair(t, 21)
		hybrid(p)
		w := p.west.initiate()
		deliverOne(p)
		deliverOne(p)
		if w.state != stateMidI {
			t.Fatal(w.stateName())
		}
		p.flying = nil
		rudeTo(p, p.west, w).answer(wire.KE{Group: 36, Data: make([]byte, size)})
		if size == kem.Answer && w.state != stateAuthI {
			t.Errorf("a random ciphertext shows: %s", w.stateName())
		}
		if size != kem.Answer && w.state != stateDead {
			t.Errorf("%d octets: %s", size, w.stateName())
		}
	}
}

func deliverOne(p *pair) {
	d := p.flying[0]
	p.flying = p.flying[1:]
	d.to.receive(d.Send)
}

// All of it under loss, in fragments: what is repeated is under the old keys.
func TestIntermediateLossy(t *testing.T) {
	for seed := range 60 {
		p := newPair(t, byte(seed))
		hybrid(p)
		for _, n := range []*node{p.west, p.east} {
			n.conns[0].FragmentSize = []int{0, 576, 2000}[seed%3]
		}
		p.fate = lossy(uint64(seed), 0.35)
		w := p.west.initiate()
		p.pass(defaultRetransmitTotal)
		if w.state != stateUp {
			t.Fatalf("seed %d: not up\n%s", seed, p)
		}
	}
}

// TestAdv_CRY_18_VectorVB recomputes the hybrid exchange V-B.
func TestAdv_CRY_18_VectorVB(t *testing.T) {
	all := map[string]string{}
	for _, file := range []string{"exchange_va.txt", "exchange_vb.txt"} {
		for _, c := range vectors(t, file) {
			for k, v := range c {
				all[k] = v
			}
		}
	}
	h := hexed{t, all}
	key, err := mlkem.NewDecapsulationKey768(h.get("mlkem_seed"))
	if err != nil {
		t.Fatal(err)
	}
	ek := key.EncapsulationKey().Bytes()
	shared, ct, err := mlkemtest.Encapsulate768(key.EncapsulationKey(), h.get("encaps_m"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "mlkem_shared", shared, h.get("mlkem_shared"))

	c := chosenVA()
	s := vectorSA(h, c)
	both := func(name string, k ikeKeys) {
		for n, got := range map[string]ipsec.Secret{"SK_d": k.d, "SK_ei": k.ei, "SK_er": k.er, "SK_pi": k.pi, "SK_pr": k.pr} {
			equal(t, n+name, got.Bytes(), h.get(n+name))
		}
	}
	ask, answer := wire.KE{Group: 36, Data: ek}, wire.KE{Group: 36, Data: ct}
	s.hs.mid.i = s.intAuth(s.keys.pi, nil, s.covers(ike.Intermediate, 1, 0, ask))
	equal(t, "IntAuth_i1", s.hs.mid.i, h.get("IntAuth_i1"))
	request := s.seal(ike.Intermediate, 1, 0, []wire.Payload{ask})[0]
	equal(t, "request", hash(request), h.get("intermediate_request_sha256"))

	// The responder hears the same.
	r := vectorSA(h, c)
	r.first = false
	if err := r.protect(); err != nil {
		t.Fatal(err)
	}
	head, _ := ike.ParseHeader(request)
	in := inbound{Header: head, msg: request}
	if _, err := r.unseal(&in); err != nil {
		t.Fatal(err)
	}
	equal(t, "heard A", in.covered()[:32], h.get("IntAuth_i1_A"))
	equal(t, "heard P", hash(in.covered()[32:]), h.get("IntAuth_i1_P_sha256"))
	equal(t, "heard IntAuth_i1", r.intAuth(r.keys.pi, nil, in.covered()), s.hs.mid.i)

	a := r.covers(ike.Intermediate, 1, ike.FlagResponse, answer)
	equal(t, "A of the response", a[:32], h.get("IntAuth_r1_A"))
	s.hs.mid.r = s.intAuth(s.keys.pr, nil, a)
	equal(t, "IntAuth_r1", s.hs.mid.r, h.get("IntAuth_r1"))
	equal(t, "response", hash(r.seal(ike.Intermediate, 1, ike.FlagResponse, []wire.Payload{answer})[0]), h.get("intermediate_response_sha256"))

	s.hs.mid.left = []*suite.KE{suite.KEByID(36)}
	if err := s.nextKeys(ipsec.NewSecret(shared)); err != nil {
		t.Fatal(err)
	}
	both("_1", s.keys)
	keys := &keyring{psk: string(h.get("psk"))}
	for name, octets := range map[string][]byte{
		"AUTH_i": s.initiatorOctets(idBody("initiator.example")), "AUTH_r": s.responderOctets(idBody("responder.example")),
	} {
		got, err := ike.Prove{Method: ike.AuthPSK, PRF: c.PRF, Octets: octets}.Run(ike.Env{Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, name, got.(ike.Signature).Data, h.get(name))
	}
	ck := deriveChild(suite.Chosen{Protocol: suite.ProtoESP, Encr: c.Encr}, c.PRF, s.keys.d, ipsec.Secret{}, s.hs.ni, s.hs.nr)
	equal(t, "KEYMAT", concat(ck.encrI.Bytes(), ck.encrR.Bytes()), h.get("child_KEYMAT"))
}

func hash(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

// vectorSA is the initiator of V-B after IKE_SA_INIT.
func vectorSA(h hexed, c suite.Chosen) *step {
	s := &step{SA: &SA{first: true, chosen: c, spiI: h.spi("SPIi"), spiR: h.spi("SPIr"), hs: &handshake{
		ni: h.get("Ni"), nr: h.get("Nr"), request: h.get("sa_init_i"), response: h.get("sa_init_r"),
	}}, now: epoch}
	s.keys = deriveIKE(c, seed(c.PRF, s.hs.ni, s.hs.nr, h.secret("g_ir")), s.hs.ni, s.hs.nr, s.spiI, s.spiR)
	if err := s.protect(); err != nil {
		h.t.Fatal(err)
	}
	return s
}

// idBody is the body of an ID payload with a name.
func idBody(name string) []byte { return append([]byte{2, 0, 0, 0}, name...) }

// lossy loses a part of all datagrams.
func lossy(seed uint64, part float64) func(datagram) []datagram {
	rng := rand.New(rand.NewPCG(seed, 3))
	return func(d datagram) []datagram {
		if rng.Float64() < part {
			return nil
		}
		return []datagram{d}
	}
}
