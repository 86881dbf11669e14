package manual

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Suite is the algorithms of one SA. The zero value is IP-in-IP.
type Suite struct {
	Encr  *suite.Encr
	Sizes []int // of its key, in bits
	Integ *suite.Integ
}

// ParseESP reads the name of an ESP transform: 3des-md5-96, aes128-sha1-96,
// aes-sha2_256 with the size left to the key, null-sha1, or a cipher alone.
func ParseESP(text string) (Suite, error) {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return r == '-' || r == ';' })
	if len(words) > 0 && (words[0] == "des" || words[0] == "des_cbc" || words[0] == "des64") {
		return Suite{}, fmt.Errorf("%q: single DES is broken and not available", text)
	}
	// The parser of proposals fills in integrity algorithms where none is
	// written.
	integ := slices.IndexFunc(words, func(w string) bool { return w == "hmac" || suite.IntegByName(w) != nil })
	p, err := single(suite.ParseESP(text))
	switch {
	case err != nil:
		return Suite{}, err
	case integ > 0 && len(p.Integ) > 1:
		return Suite{}, errAlternatives
	case p.AEAD():
		return Suite{}, fmt.Errorf("%q: a counter cipher repeats its nonces when keys are static, and then shows what it hides (RFC 8221, 3)", text)
	}
	s := Suite{Encr: p.Encr[0].Encr}
	for _, c := range p.Encr {
		if c.Encr != s.Encr {
			return Suite{}, fmt.Errorf("%q names several ciphers", text)
		}
		if c.Bits != 0 {
			s.Sizes = append(s.Sizes, c.Bits)
		}
	}
	if integ > 0 {
		s.Integ = p.Integ[0]
	}
	return s, nil
}

// ParseAH reads the name of an AH transform: hmac-md5-96, hmac-sha1, sha2_256.
func ParseAH(text string) (Suite, error) {
	p, err := single(suite.ParseAH(text))
	switch {
	case err != nil:
		return Suite{}, err
	case len(p.Integ) > 1:
		return Suite{}, errAlternatives
	}
	return Suite{Integ: p.Integ[0]}, nil
}

var errAlternatives = errors.New("several alternatives, but nothing is negotiated: name one")

// single refuses what only a negotiation could make sense of.
func single(list []suite.Proposal, err error) (suite.Proposal, error) {
	if err != nil {
		return suite.Proposal{}, err
	}
	p := list[0]
	switch {
	case len(list) > 1:
		return p, errAlternatives
	case len(p.KE) > 0:
		return p, fmt.Errorf("key exchange %s, but nothing is negotiated", p.KE[0].Name)
	case p.Hybrid():
		return p, errors.New("additional key exchanges, but nothing is negotiated")
	case len(p.ESN) == 1 && p.ESN[0]:
		return p, fmt.Errorf("extended sequence numbers are for negotiated SAs only")
	}
	return p, nil
}

// Transform is how an SA has them, with an encryption key of that length.
func (s Suite) Transform(key ipsec.Secret) ipsec.Transform {
	var t ipsec.Transform
	if s.Encr != nil {
		t.Encr = s.Encr.ID
		if len(s.Encr.KeyBits) > 1 {
			t.KeyBits = key.Len() * 8
		}
	}
	if s.Integ != nil {
		t.Integ = s.Integ.ID
	}
	return t
}

// Obsolete lists the names of those that are out of use.
func (s Suite) Obsolete() []string {
	var names []string
	if s.Encr != nil && s.Encr.Obsolete != "" {
		names = append(names, s.Encr.Name)
	}
	if s.Integ != nil && s.Integ.Obsolete != "" {
		names = append(names, s.Integ.Name)
	}
	return names
}

// CheckEncrKey refuses an encryption key of another length than the cipher's,
// and weak ones.
func (s Suite) CheckEncrKey(key ipsec.Secret) error {
	if s.Encr == nil {
		return lengthError("", key, nil)
	}
	if err := lengthError(s.Encr.Name, key, s.Sizes); err != nil {
		return err
	}
	if s.Encr.Name == "3des_cbc" {
		return checkTripleDES(key.Bytes())
	}
	return nil
}

// CheckIntegKey refuses an integrity key of another length than the
// algorithm's.
func (s Suite) CheckIntegKey(key ipsec.Secret) error {
	if s.Integ == nil {
		return lengthError("", key, nil)
	}
	return lengthError(s.Integ.Name, key, []int{s.Integ.Key * 8})
}

// lengthError compares the length of a key with the lengths an algorithm takes.
// The error tells both (R10.7), never the key.
func lengthError(name string, key ipsec.Secret, want []int) error {
	got := key.Len() * 8
	switch {
	case len(want) == 0 && got == 0 || slices.Contains(want, got):
		return nil
	case name == "":
		return fmt.Errorf("a key of %d bits, but no algorithm to use it", got)
	case len(want) == 0:
		return fmt.Errorf("a key of %d bits, but %s has none", got, name)
	case got == 0:
		return fmt.Errorf("no key, but %s needs one of %s bits", name, orList(want))
	}
	return fmt.Errorf("key of %d bits, but %s needs %s", got, name, orList(want))
}

func orList(sizes []int) string {
	sorted := slices.Sorted(slices.Values(sizes))
	words := make([]string, len(sorted))
	for i, n := range sorted {
		words[i] = fmt.Sprint(n)
	}
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " or " + words[n-1]
	}
	return words[0]
}
