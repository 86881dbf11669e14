package suite

import (
	"fmt"
	"strings"
)

// Sum is prf(key, data), the parts of data one after another. The result is
// p.Out octets.
func (p *PRF) Sum(key []byte, data ...[]byte) []byte {
	h := p.New(key)
	for _, d := range data {
		h.Write(d)
	}
	return h.Sum(nil)
}

// Plus is prf+, RFC 7296 section 2.13:
//
//	prf+ (K,S) = T1 | T2 | T3 | ...,  Tn = prf (K, Tn-1 | S | n)
//
// The counter has one octet, so n may be at most 255*p.Out. How much is asked
// for depends on our descriptors alone and is far below; a larger n is a
// programmer's error and panics.
func (p *PRF) Plus(key, seed []byte, n int) []byte {
	if n < 0 || n > 255*p.Out {
		panic(fmt.Sprintf("suite: prf+ of %d octets from %s", n, p.Name))
	}
	out := make([]byte, 0, n+p.Out)
	var last []byte
	for i := byte(1); len(out) < n; i++ {
		last = p.Sum(key, last, seed, []byte{i})
		out = append(out, last...)
	}
	return out[:n:n]
}

// Sum is the ICV over data, cut to i.ICV octets.
func (i *Integ) Sum(key []byte, data ...[]byte) []byte {
	h := i.New(key)
	for _, d := range data {
		h.Write(d)
	}
	return h.Sum(nil)[:i.ICV]
}

// KeyLen is how many octets of key material the choice takes, salt included.
func (c EncrChoice) KeyLen() int {
	if c.Encr == nil {
		return 0
	}
	return c.Bits/8 + c.Salt
}

// String is the IANA name with the key size, such as AES_GCM_16_256.
func (c EncrChoice) String() string {
	if c.Encr == nil {
		return "NONE"
	}
	name := strings.ToUpper(c.Name)
	if c.Fixed {
		return name
	}
	return fmt.Sprintf("%s_%d", name, c.Bits)
}

// wireBits is the Key Length attribute of the choice, 0 when it has none.
func (c EncrChoice) wireBits() uint16 {
	if c.Fixed {
		return 0
	}
	return uint16(c.Bits)
}
