package suite

import (
	"fmt"
	"strings"
)

// Offer is p in wire form: what an initiator sends. Proposals of one SA payload
// are numbered from 1 in order, and Check relies on it (RFC 7296, 3.3.1).
//
// The Key Length attribute is left out for ciphers of one size (3.3.5), the
// integrity transform for AEADs (RFC 5282, 8). ESP and AH say which sequence
// numbers they accept (3.3.3).
func (p Proposal) Offer(number uint8, spi []byte) Offer {
	o := Offer{Number: number, Protocol: p.Protocol, SPI: spi}
	for _, c := range p.Encr {
		o.add(TypeEncr, c.ID, c.wireBits())
	}
	for _, f := range p.PRF {
		o.add(TypePRF, f.ID, 0)
	}
	for _, i := range p.Integ {
		o.add(TypeInteg, i.ID, 0)
	}
	for _, k := range p.KE {
		o.add(TypeKE, k.ID, 0)
	}
	for _, esn := range p.ESN {
		o.add(TypeESN, esnID(esn), 0)
	}
	for i, list := range p.AddKE {
		for _, k := range list {
			o.add(addKEType(i), k.ID, 0)
		}
	}
	return o
}

// Offer is c in wire form: what a responder answers. Number and Protocol are
// those of the offer it took.
func (c Chosen) Offer(number uint8, spi []byte) Offer {
	return c.proposal().Offer(number, spi)
}

// proposal is c as a Proposal that leaves no choice.
func (c Chosen) proposal() Proposal {
	p := Proposal{Protocol: c.Protocol}
	if c.Encr.Encr != nil {
		p.Encr = []EncrChoice{c.Encr}
	}
	if c.PRF != nil {
		p.PRF = []*PRF{c.PRF}
	}
	if c.Integ != nil {
		p.Integ = []*Integ{c.Integ}
	}
	if c.KE != nil {
		p.KE = []*KE{c.KE}
	}
	if c.Protocol != ProtoIKE {
		p.ESN = []bool{c.ESN}
	}
	for i, k := range c.AddKE {
		if k != nil {
			p.AddKE[i] = []*KE{k}
		}
	}
	return p
}

func (o *Offer) add(t TransformType, id, bits uint16) {
	o.Transforms = append(o.Transforms, Transform{Type: t, ID: id, KeyBits: bits})
}

// esnID is the transform ID of RFC 7296, 3.3.2, type 5.
func esnID(esn bool) uint16 {
	if esn {
		return 1
	}
	return 0
}

// WithoutKE is p for the Child SA that IKE_AUTH makes, which has no key
// exchange of its own (RFC 7296, 1.2).
func (p Proposal) WithoutKE() Proposal {
	p.KE, p.AddKE = nil, [NumAddKE][]*KE{}
	return p
}

// WithoutKE is o without its key exchange transforms. A responder uses it in
// IKE_AUTH, where some initiators leave their PFS groups in.
func (o Offer) WithoutKE() Offer {
	var rest []Transform
	for _, t := range o.Transforms {
		if t.Type != TypeKE && !t.Type.isAddKE() {
			rest = append(rest, t)
		}
	}
	o.Transforms = rest
	return o
}

// Obsolete lists what in p is not in good standing, each with the reason, in
// the form "3des_cbc: blocks of 64 bits …". The caller warns or refuses.
func (p Proposal) Obsolete() []string {
	var out []string
	note := func(name, why string) {
		line := name + ": " + why
		if why == "" {
			return
		}
		for _, o := range out {
			if o == line {
				return
			}
		}
		out = append(out, line)
	}
	for _, c := range p.Encr {
		note(c.Name, c.Encr.Obsolete)
	}
	for _, i := range p.Integ {
		note(i.Name, i.Obsolete)
	}
	for _, f := range p.PRF {
		note(f.Name, f.Obsolete)
	}
	for _, k := range p.KE {
		note(k.Name, k.Obsolete)
	}
	for _, list := range p.AddKE {
		for _, k := range list {
			note(k.Name, k.Obsolete)
		}
	}
	return out
}

// AEAD reports whether p's ciphers authenticate by themselves. A proposal never
// mixes the two kinds (RFC 5282, 8).
func (p Proposal) AEAD() bool { return len(p.Encr) > 0 && p.Encr[0].AEAD }

// String lists the algorithms, alternatives joined by + and kinds by /.
func (p Proposal) String() string { return p.Offer(0, nil).String() }

// String lists the transforms in the same form, those unknown to us by number.
func (o Offer) String() string {
	var kinds []string
	for _, t := range listed {
		if names := o.names(t); len(names) > 0 {
			kinds = append(kinds, strings.Join(names, "+"))
		}
	}
	return strings.Join(kinds, "/")
}

// listed is the order of transform types in text.
var listed = []TransformType{TypeEncr, TypeInteg, TypePRF, TypeKE, 6, 7, 8, 9, 10, 11, 12, TypeESN}

// String is like AES_GCM_16_256/PRF_HMAC_SHA2_384/X25519. The sequence numbers
// of ESP and AH are shown when they are extended.
func (c Chosen) String() string {
	p := c.proposal()
	if !c.ESN {
		p.ESN = nil
	}
	return p.String()
}

// String is the type as messages name it.
func (t TransformType) String() string {
	switch t {
	case TypeEncr:
		return "encryption"
	case TypePRF:
		return "PRF"
	case TypeInteg:
		return "integrity"
	case TypeKE:
		return "key exchange"
	case TypeESN:
		return "sequence numbers"
	}
	if t.isAddKE() {
		return fmt.Sprintf("additional key exchange %d", t-TypeAddKE1+1)
	}
	return fmt.Sprintf("transform type %d", uint8(t))
}

// String is IKE, AH or ESP.
func (p Protocol) String() string {
	switch p {
	case ProtoIKE:
		return "IKE"
	case ProtoAH:
		return "AH"
	case ProtoESP:
		return "ESP"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// String is the IANA name in upper case with the key size, or type and number
// for transforms that we do not implement.
func (t Transform) String() string {
	if t.ID == 0 && (t.Type == TypeInteg || t.Type == TypeKE || t.Type.isAddKE()) {
		return "NONE"
	}
	name, kind := "", t.Type
	if kind.isAddKE() {
		kind = TypeKE
	}
	switch kind {
	case TypeEncr:
		if e := EncrByID(t.ID); e != nil {
			name = e.Name
		}
	case TypePRF:
		if p := PRFByID(t.ID); p != nil {
			name = p.Name
		}
	case TypeInteg:
		if i := IntegByID(t.ID); i != nil {
			name = i.Name
		}
	case TypeKE:
		if k := KEByID(t.ID); k != nil {
			name = k.Name
		}
	case TypeESN:
		name = map[uint16]string{0: "no_esn", 1: "esn"}[t.ID]
	}
	if name == "" {
		name = fmt.Sprintf("%s %d", t.Type, t.ID)
	}
	if t.KeyBits != 0 {
		return fmt.Sprintf("%s_%d", strings.ToUpper(name), t.KeyBits)
	}
	return strings.ToUpper(name)
}
