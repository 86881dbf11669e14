package suite

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ParseIKE reads an ike= line: proposals joined by commas, each
// encryption-integrity[-prf]-group as FreeS/WAN's successors write it:
//
//	aes256-sha2_256-modp2048     Openswan, Libreswan
//	aes128-sha1;modp1024         a semicolon before the group
//	aes_gcm256-sha2_512-x25519   with an AEAD the hash names the PRF
//	aes256gcm16-prfsha384-ecp384 strongSwan
//	aes256gcm16-sha384-x25519-ke1_mlkem768 with an additional key exchange
//	aes+3des-sha2-dh14           alternatives joined by +
//
// A cipher without a size means every size, 256 first. What a proposal leaves
// out is filled in: the PRF from the integrity algorithm, everything else from
// the defaults. Obsolete algorithms are accepted, naming is consent; ask
// Proposal.Obsolete.
func ParseIKE(text string) ([]Proposal, error) { return parse(ProtoIKE, text) }

// ParseESP reads an esp= or phase2alg= line: encryption[-integrity][-group],
// otherwise like ParseIKE. The groups are for PFS, and so are additional key
// exchanges, such as aes256gcm16-x25519-ke1_mlkem768; no group named means none in
// the result, and the caller adds its own (WithKE).
func ParseESP(text string) ([]Proposal, error) { return parse(ProtoESP, text) }

// ParseAH reads an ah= line, or phase2alg= with phase2=ah: integrity[-group],
// such as sha2_256-modp2048 or FreeS/WAN's hmac-md5-96.
func ParseAH(text string) ([]Proposal, error) { return parse(ProtoAH, text) }

// WithKE is p with these groups where it names none.
func (p Proposal) WithKE(groups []*KE) Proposal {
	if len(p.KE) == 0 {
		p.KE = clone(groups)
	}
	return p
}

func parse(proto Protocol, text string) ([]Proposal, error) {
	// A final "!" is strongSwan's "strict", which a written list is anyway.
	text = strings.TrimSuffix(strings.TrimSpace(text), "!")
	var out []Proposal
	for _, word := range strings.Split(text, ",") {
		p, err := parseProposal(proto, strings.TrimSpace(word))
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if len(out) > maxProposals {
		return nil, fmt.Errorf("%d proposals, at most %d are possible", len(out), maxProposals)
	}
	return out, nil
}

// maxProposals is what the number of a proposal can count, RFC 7296, 3.3.1.
const maxProposals = 255

// parser collects one proposal. hashes counts the words that named hashes: the
// first is the integrity algorithm, the second the PRF.
type parser struct {
	Proposal
	word    string
	hashes  int
	noInteg bool
	last    *Encr // the cipher that a bare number is the size of
}

func parseProposal(proto Protocol, word string) (Proposal, error) {
	p := parser{Proposal: Proposal{Protocol: proto}, word: word}
	if word == "" {
		return Proposal{}, fmt.Errorf("empty proposal")
	}
	for i, part := range parts(word) {
		if err := p.part(i, part); err != nil {
			return Proposal{}, err
		}
	}
	return p.finish()
}

// parts cuts a proposal at its hyphens and semicolons, but not FreeS/WAN's
// hmac-md5-96, which is the hash hmac_md5 with the length of its ICV.
func parts(word string) []string {
	var list []string
	for _, p := range strings.FieldsFunc(word, func(r rune) bool { return r == '-' || r == ';' }) {
		if n := len(list); n > 0 && strings.EqualFold(list[n-1], "hmac") {
			list[n-1] += "_" + p
			continue
		}
		list = append(list, p)
	}
	return list
}

// part reads what stands between two hyphens.
func (p *parser) part(i int, text string) error {
	if bits, err := strconv.Atoi(text); err == nil && i > 0 {
		return p.size(text, bits)
	}
	p.last = nil // a number after this is not the cipher's
	isHash := false
	for _, alt := range strings.Split(text, "+") {
		hash, err := p.algorithm(i, alt)
		if err != nil {
			return err
		}
		isHash = isHash || hash
	}
	if isHash {
		p.hashes++
	}
	return nil
}

// algorithm reads one name and reports whether it was a hash's.
func (p *parser) algorithm(i int, name string) (hash bool, err error) {
	if i == 0 && p.Protocol != ProtoAH {
		return false, p.cipher(name)
	}
	if prf, ok := strings.CutPrefix(strings.ToLower(name), "prf"); ok && p.Protocol == ProtoIKE {
		if f := PRFByName(prf); f != nil {
			p.PRF = append(p.PRF, f)
			return false, nil
		}
	}
	if rest, ok := strings.CutPrefix(strings.ToLower(name), "ke"); ok && strings.Contains(rest, "_") {
		return false, p.additional(name, rest)
	}
	if k := KEByName(name); k != nil {
		p.KE = append(p.KE, k)
		return false, nil
	}
	switch fold(name) {
	case "null", "none":
		p.noInteg = true
		return true, nil
	case "esn":
		p.ESN = append(p.ESN, true)
		return false, nil
	case "noesn":
		p.ESN = append(p.ESN, false)
		return false, nil
	}
	integ := IntegByName(name)
	if integ == nil {
		if _, bits := findCipher(name); bits != nil {
			return false, p.cipher(name)
		}
		return false, p.unknown(name)
	}
	if p.hashes == 0 && !p.AEAD() {
		p.Integ = append(p.Integ, integ)
		return true, nil
	}
	if p.Protocol != ProtoIKE {
		return false, fmt.Errorf("%s: %s integrity %s is one too many", p.word, p.Protocol, name)
	}
	f := PRFByName(name)
	if f == nil {
		return false, p.unknown(name)
	}
	p.PRF = append(p.PRF, f)
	return true, nil
}

// additional reads an additional key exchange as strongSwan writes it, ke1_ to
// ke7_ before the method's name. rest is the word without "ke".
func (p *parser) additional(name, rest string) error {
	number, method, _ := strings.Cut(rest, "_")
	n, err := strconv.Atoi(number)
	k := KEByName(method)
	if err != nil || n < 1 || n > NumAddKE || k == nil {
		return p.unknown(name)
	}
	p.AddKE[n-1] = append(p.AddKE[n-1], k)
	return nil
}

// cipher reads a cipher with or without its key size.
func (p *parser) cipher(name string) error {
	e, bits := findCipher(name)
	if e == nil {
		return p.unknown(name)
	}
	if p.Protocol == ProtoAH {
		return fmt.Errorf("%s: AH does not encrypt, it has no %s", p.word, name)
	}
	if len(p.Encr) > 0 && p.AEAD() != e.AEAD {
		return fmt.Errorf("%s: %s authenticates by itself or not, the cipher before it differs: write two proposals (RFC 5282)", p.word, name)
	}
	for _, b := range bits {
		p.Encr = append(p.Encr, EncrChoice{e, b})
	}
	p.last = nil
	if len(bits) > 1 {
		p.last = e
	}
	return nil
}

// size reads a bare number: the key size of the cipher before it, which
// Openswan counts with the salt, or the length of the ICV of the hash before
// it, as FreeS/WAN wrote 3des-md5-96.
func (p *parser) size(text string, bits int) error {
	if e := p.last; e != nil {
		p.last = nil
		for _, b := range e.KeyBits {
			if bits == b || e.AEAD && bits == b+8*e.Salt {
				p.Encr = append(p.Encr[:len(p.Encr)-len(e.KeyBits)], EncrChoice{e, b})
				return nil
			}
		}
		return fmt.Errorf("%s: %s has no key size of %d bits, but %v", p.word, e.Conf[0], bits, e.KeyBits)
	}
	if n := len(p.Integ); n > 0 && p.Integ[n-1].ICV*8 == bits {
		return nil
	}
	return fmt.Errorf("%s: what is %q the size of?", p.word, text)
}

// finish fills in what was left out and makes the checks of the whole.
func (p *parser) finish() (Proposal, error) {
	if p.Protocol != ProtoAH && len(p.Encr) == 0 {
		return Proposal{}, fmt.Errorf("%q names no cipher", p.word)
	}
	if p.noInteg {
		if len(p.Integ) > 0 {
			return Proposal{}, fmt.Errorf("%s: both an integrity algorithm and none", p.word)
		}
		if !p.AEAD() {
			return Proposal{}, fmt.Errorf("%s: encryption without integrity protects nothing", p.word)
		}
	}
	needs := p.Protocol == ProtoAH || !p.AEAD()
	if needs && len(p.Integ) == 0 {
		p.Integ = clone(defaultInteg)
	}
	if p.Protocol == ProtoIKE {
		return p.finishIKE()
	}
	if len(p.ESN) == 0 {
		p.ESN = clone(defaultESN)
	}
	return p.once(), nil
}

// once is the proposal with each algorithm once. The number of transforms then
// fits the octet that counts them (RFC 7296, 3.3.1), whatever was written.
func (p *parser) once() Proposal {
	q := p.Proposal
	q.Encr, q.PRF, q.Integ = once(q.Encr), once(q.PRF), once(q.Integ)
	q.KE, q.ESN = once(q.KE), once(q.ESN)
	for i := range q.AddKE {
		q.AddKE[i] = once(q.AddKE[i])
	}
	return q
}

func once[T comparable](list []T) []T {
	var out []T
	for _, x := range list {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

func (p *parser) finishIKE() (Proposal, error) {
	if len(p.ESN) > 0 {
		return Proposal{}, fmt.Errorf("%s: IKE has no extended sequence numbers", p.word)
	}
	for _, c := range p.Encr {
		if c.Encr == &encrNull {
			return Proposal{}, fmt.Errorf("%s: IKE itself is always encrypted", p.word)
		}
	}
	if len(p.PRF) == 0 {
		for _, i := range p.Integ {
			if f := PRFByName(i.Conf[0]); f != nil {
				p.PRF = append(p.PRF, f)
			}
		}
	}
	if len(p.PRF) == 0 {
		p.PRF = clone(defaultPRF)
	}
	if len(p.KE) == 0 {
		p.KE = clone(defaultKE)
	}
	return p.once(), nil
}

// findCipher finds a cipher by its name with a size (aes256, aes_gcm_c_256,
// strongSwan's aes256gcm16) or without one; bits then lists every size.
func findCipher(word string) (e *Encr, bits []int) {
	word = fold(word)
	for _, e := range encrs {
		for _, conf := range e.Conf {
			name := fold(conf)
			if word == name {
				if len(e.KeyBits) == 0 {
					return e, []int{0}
				}
				return e, e.KeyBits
			}
			for _, b := range e.KeyBits {
				size := strconv.Itoa(b)
				if word == name+size || strings.HasPrefix(name, "aes") && word == "aes"+size+name[3:] {
					return e, []int{b}
				}
			}
		}
	}
	return nil, nil
}

// fold takes out the differences between the families' spellings.
func fold(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "_", "")
}
