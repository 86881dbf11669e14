package config

import (
	"slices"
	"strings"

	"cygnet/internal/ike"
	"cygnet/internal/suite"
)

// Phase2 is phase2= or auth=: which protocols protect the packets.
type Phase2 uint8

// The protocols.
const (
	Phase2ESP   Phase2 = iota
	Phase2AH           // authenticates and does not encrypt
	Phase2AHESP        // AH around ESP, in IKEv1 only
)

// phase2Field reads phase2= and its elder auth=. The latter says what
// authenticates, and ESP always encrypts (freeswan.md 2.9, A-9).
func phase2Field() field[Conn] {
	f := enum(func(c *Conn) *Phase2 { return &c.Phase2 }, word[Phase2]{"esp", Phase2ESP, ""}, word[Phase2]{"ah", Phase2AH, ""},
		word[Phase2]{"ah+esp", Phase2AHESP, ""}, word[Phase2]{"esp+ah", Phase2AHESP, ""})
	plain := f.parse
	f.parse = func(c *Conn, v value) error {
		if fold(v.name) == "auth" && strings.EqualFold(v.text, "ah") {
			c.Phase2 = Phase2AHESP
			return nil
		}
		return plain(c, v)
	}
	return f
}

// phase2 settles which protocols protect an automatic connection. ah= alone
// means AH alone, as with strongSwan.
func (k *checker) phase2() *Problem {
	if !k.negotiates() {
		return nil
	}
	if k.AH.Text != "" && !k.manuallyKeyed() && !k.given("phase2") {
		if k.given("esp") {
			return k.problem("ah", "both esp= and ah= are given", "phase2=esp or phase2=ah says which one is meant, phase2=ah+esp means both")
		}
		k.Phase2 = Phase2AH
	}
	switch {
	case k.Phase2 == Phase2ESP:
		return nil
	case k.Phase2 == Phase2AHESP && k.Version != ike.Version1:
		return k.problem("phase2", "AH around ESP exists in IKEv1 only: IKEv2 negotiates one protocol for an SA",
			"phase2=esp authenticates just as well; keyexchange=ikev1 negotiates both")
	case k.Encapsulation == ike.Yes:
		return k.problem("encapsulation", "AH does not go in UDP", "leave encapsulation= out, or write phase2=esp")
	}
	return nil
}

// phase2Proposals reads the algorithms of ESP and AH. With phase2=ah,
// phase2alg= is a name of ah=.
func (k *checker) phase2Proposals() *Problem {
	if p := k.phase2(); p != nil {
		return p
	}
	var problem *Problem
	if k.Phase2 != Phase2AH {
		problem = k.parseProposals("esp", &k.ESP, suite.ParseESP)
	} else if k.AH.Text == "" && k.ESP.Text != "" {
		ah := Proposals{Text: k.ESP.Text}
		problem = k.parseProposals("esp", &ah, suite.ParseAH)
		k.AH.List = ah.List
	}
	if problem == nil && k.Phase2 != Phase2ESP {
		problem = k.parseProposals("ah", &k.AH, suite.ParseAH)
	}
	if problem != nil && k.negotiates() {
		return problem
	}
	return nil
}

// additionalKE is about ke1_ to ke7_ in ike=, esp= and ah=, which are never passed
// over: whoever names an additional key exchange counts on it.
func (k *checker) additionalKE() *Problem {
	if !k.negotiates() {
		return nil
	}
	for _, x := range []struct {
		key   string
		list  []suite.Proposal
		child bool
	}{{"ike", k.IKE.List, false}, {"esp", k.ESP.List, true}, {"ah", k.AH.List, true}} {
		switch {
		case !slices.ContainsFunc(x.list, suite.Proposal.Hybrid):
		case k.Version == ike.Version1:
			return k.problem(x.key, "IKEv1 has no additional key exchanges (RFC 9370)", "leave ke1_ to ke7_ out, or keyexchange=ikev2")
		case x.child && !k.PFS:
			return k.problem(x.key, "pfs=no: an additional key exchange comes after that of PFS", "pfs=yes, or leave ke1_ to ke7_ out")
		}
	}
	return nil
}
