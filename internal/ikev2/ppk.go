package ikev2

import (
	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
)

// Post-quantum preshared keys, RFC 8784. Both ends say USE_PPK in IKE_SA_INIT;
// the initiator then names one in IKE_AUTH, and the responder says whether it
// has it:
//
//	HDR, SAi1, KEi, Ni, N(USE_PPK) -->
//	<-- HDR, SAr1, KEr, Nr, N(USE_PPK)
//	HDR, SK {IDi, [IDr,] AUTH, SAi2, TSi, TSr, N(PPK_IDENTITY), [N(NO_PPK_AUTH)]} -->
//	<-- HDR, SK {IDr, AUTH, SAr2, TSi, TSr, [N(PPK_IDENTITY)]}
//
// The keys for AUTH and for what is derived later then hold it; those of the
// messages themselves do not.

// ppkRun is what an IKE SA knows of a PPK while it is being made.
type ppkRun struct {
	agreed  bool   // both ends have said USE_PPK
	name    string // of the one we use
	plain   triple // the keys without it, while the peer may still do without
	noProof []byte // AUTH made with those
}

// triple are the keys that a PPK is mixed into.
type triple struct{ d, pi, pr ipsec.Secret }

func (k ikeKeys) triple() triple { return triple{k.d, k.pi, k.pr} }

func (k *ikeKeys) set(t triple) { k.d, k.pi, k.pr = t.d, t.pi, t.pr }

func (t triple) wipe() {
	for _, s := range []ipsec.Secret{t.d, t.pi, t.pr} {
		s.Wipe()
	}
}

// copied are copies for a job, which may outlive the keys of the machine.
func (t triple) copied() triple {
	c := func(s ipsec.Secret) ipsec.Secret { return ipsec.NewSecret(clone(s.Bytes())) }
	return triple{c(t.d), c(t.pi), c(t.pr)}
}

const ppkFixed = 2 // PPK_ID_FIXED, section 5.1: the rest is the name

// ppkOffer is what IKE_SA_INIT says of it.
func ppkOffer() wire.Payload { return wire.NewNotify(ike.NotifyUsePPK, nil) }

// ppkAccepted reports whether any connection that the peer may mean has a use
// for a PPK.
func (s *SA) ppkAccepted() bool {
	for _, c := range s.cfg.PAD.Between(s.local.Addr(), s.remote.Addr()) {
		if c.PPK != ike.PPKNo {
			return true
		}
	}
	return false
}

// mixPPK has a PPK mixed into the keys, and keeps those without it. err says
// that there is none; the keys are then as before.
func (s *step) mixPPK(c *ike.Conn, name string, then func(s *step, err error)) {
	own := s.keys.triple().copied()
	job := ike.MixPPK{Conn: c, PRF: s.chosen.PRF, Local: s.localID, Remote: s.remoteID, Name: name, D: own.d, Pi: own.pi, Pr: own.pr}
	if s.first {
		job.Remote = c.Remote.ID
	}
	s.startJob(job, func(s *step, result any, err error) {
		own.wipe()
		if err != nil {
			then(s, err)
			return
		}
		m := result.(ike.Mixed)
		s.hs.ppk.name, s.hs.ppk.plain = m.Name, s.keys.triple()
		s.keys.set(triple{m.D, m.Pi, m.Pr})
		then(s, nil)
	})
}

// startPPK comes before the AUTH of an initiator.
func (s *step) startPPK() {
	c := s.conn
	switch {
	case c.PPK == ike.PPKNo:
		s.startProof()
		return
	case !s.hs.ppk.agreed && c.PPK == ike.PPKInsist:
		s.fail(&ike.Failure{Reason: ike.ReasonAuth, Why: "the peer does not do PPK, which the connection insists on"})
		return
	case !s.hs.ppk.agreed:
		s.startProof()
		return
	}
	s.mixPPK(c, "", func(s *step, err error) {
		switch {
		case err != nil && c.PPK == ike.PPKInsist:
			s.fail(&ike.Failure{Reason: ike.ReasonAuth, Why: err.Error()})
		case err != nil:
			s.note("going on without a PPK: %v", err)
			s.startProof()
		case c.PPK == ike.PPKInsist:
			s.startProof()
		default:
			s.ppkProveWithout()
		}
	})
}

// ppkProveWithout makes the AUTH for a responder that has not got our PPK.
func (s *step) ppkProveWithout() {
	c := s.conn
	body := wire.NewIDi(c.Local.ID).Body()
	mixed := s.keys.triple()
	s.keys.set(s.hs.ppk.plain)
	octets, shared := s.initiatorOctets(body), s.nullSecret(c.Local.Auth[0], s.keys.pi)
	s.keys.set(mixed)
	s.startJob(ike.Prove{
		Conn: c, Method: c.Local.Auth[0], PRF: s.chosen.PRF, Local: c.Local.ID, Remote: c.Remote.ID, Hashes: s.hs.hashes,
		Octets: octets, Shared: shared,
	}, func(s *step, result any, err error) {
		if err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonAuth, Why: err.Error()})
			return
		}
		s.hs.ppk.noProof = result.(ike.Signature).Data
		s.startProof()
	})
}

// ppkPayloads are those of the initiator's IKE_AUTH.
func (s *step) ppkPayloads() []wire.Payload {
	p := &s.hs.ppk
	if p.name == "" {
		return nil
	}
	ps := []wire.Payload{wire.NewNotify(ike.NotifyPPKIdentity, append([]byte{ppkFixed}, p.name...))}
	if p.noProof != nil {
		ps = append(ps, wire.NewNotify(ike.NotifyNoPPKAuth, p.noProof))
	}
	return ps
}

// ppkAnswered settles for the initiator whether the PPK is used. It reports
// false where the peer does without and may not.
func (s *step) ppkAnswered(ps wire.Payloads) bool {
	p := &s.hs.ppk
	switch {
	case p.name == "":
		return true
	case says(ps, ike.NotifyPPKIdentity):
		p.plain.wipe()
		s.ppkSaid()
		return true
	case s.conn.PPK == ike.PPKInsist:
		return false
	}
	mixed := s.keys.triple()
	s.keys.set(p.plain)
	mixed.wipe()
	s.note("the peer has not got our PPK %q: going on without", p.name)
	p.name = ""
	return true
}

func (s *step) ppkSaid() { s.note("using PPK %q", s.hs.ppk.name) }

// answerPPK comes before the check of an initiator's AUTH: with the keys that
// then stand, then is called with the AUTH that is to be checked.
func (s *step) answerPPK(c *ike.Conn, ps wire.Payloads, auth wire.AUTH, then func(s *step, auth wire.AUTH)) {
	without := func(s *step, why string) {
		n, has := ps.Notify(ike.NotifyNoPPKAuth)
		switch {
		case c.PPK == ike.PPKInsist, !has:
			s.refuseAuth(&ike.Failure{Reason: ike.ReasonAuth, Why: why})
		default:
			s.note("going on without a PPK: %s", why)
			then(s, wire.AUTH{Method: auth.Method, Data: n.Data})
		}
	}
	n, named := ps.Notify(ike.NotifyPPKIdentity)
	switch {
	case c.PPK == ike.PPKInsist && (!named || !s.hs.ppk.agreed): // naming one is not using it
		s.refuseAuth(&ike.Failure{Reason: ike.ReasonAuth, Why: "the peer uses no PPK, which connection \"" + c.Name + "\" insists on"})
		return
	case !named || !s.hs.ppk.agreed:
		then(s, auth)
		return
	case c.PPK == ike.PPKNo:
		without(s, "connection \""+c.Name+"\" uses none")
		return
	case len(n.Data) < 2 || n.Data[0] != ppkFixed:
		without(s, "the peer names its PPK in a way that is not known")
		return
	}
	s.mixPPK(c, string(n.Data[1:]), func(s *step, err error) {
		if err != nil {
			without(s, err.Error())
			return
		}
		s.hs.ppk.plain.wipe()
		s.ppkSaid()
		then(s, auth)
	})
}
