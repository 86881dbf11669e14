package esp

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// aead is a combined mode: AES-GCM (RFC 4106), ChaCha20-Poly1305 (RFC 7634) and
// whatever else has a nonce of salt and IV.
//
// The IV is the 64-bit sequence number. It is unique under the key because
// Reserve gives a number once, and it need not be unpredictable.
type aead struct {
	cipher.AEAD
	salt [4]byte
	nsal int // octets of salt
	iv   int // octets of IV
	esn  bool
}

func newAEAD(encr *suite.Encr, sa ipsec.SA) (transform, sizes, error) {
	key := sa.EncrKey.Bytes()
	cut := len(key) - encr.Salt
	c, err := encr.NewAEAD(key[:cut])
	if err != nil {
		return nil, sizes{}, fmt.Errorf("%s: %w", encr.Name, err)
	}
	a := &aead{AEAD: c, nsal: encr.Salt, iv: encr.IV, esn: sa.Transform.ESN}
	if encr.IV != 8 || encr.Salt > len(a.salt) || c.NonceSize() != encr.Salt+encr.IV || c.Overhead() != encr.ICV {
		return nil, sizes{}, fmt.Errorf("%s: descriptor does not fit its cipher", encr.Name)
	}
	copy(a.salt[:], key[cut:])
	z := sizes{head: 8 + encr.IV, icv: encr.ICV, align: max(encr.Block, 4), block: 1}
	if encr.ID == encrGMAC {
		return &gmac{*a}, z, nil
	}
	return a, z, nil
}

func (a *aead) seal(s *Scratch, pkt, payload []byte, t trailer, seq uint64) {
	head := 8 + a.iv
	binary.BigEndian.PutUint64(pkt[8:], seq)
	body := pkt[head : len(pkt)-a.Overhead()]
	plain, borrowed := gather(s, pkt, body, payload, t)
	// The capacity ends with the packet, because the next one may follow. A
	// cipher that wants more room (a tag cut short) answers from elsewhere.
	sealed := a.Seal(body[:0:len(pkt)-head], a.nonce(s, pkt), plain, a.additional(s, pkt, seq))
	if &sealed[0] != &body[0] {
		copy(pkt[head:], sealed)
	}
	if borrowed {
		copy(plain[len(payload):], s.saved[:t.len()])
	}
}

func (a *aead) open(s *Scratch, pkt []byte, seq uint64) bool {
	body := pkt[8+a.iv:]
	_, err := a.Open(body[:0], a.nonce(s, pkt), body, a.additional(s, pkt, seq))
	return err == nil
}

// nonce is salt and IV, RFC 4106 section 4, RFC 7634 section 2.
func (a *aead) nonce(s *Scratch, pkt []byte) []byte {
	n := copy(s.nonce[:], a.salt[:a.nsal])
	n += copy(s.nonce[n:], pkt[8:8+a.iv])
	return s.nonce[:n]
}

// additional is SPI and sequence number, with ESN all 64 bits of it, RFC 4106
// section 5. Without ESN that is how the packet begins.
func (a *aead) additional(s *Scratch, pkt []byte, seq uint64) []byte {
	if !a.esn {
		return pkt[:8:8]
	}
	copy(s.aad[:4], pkt)
	binary.BigEndian.PutUint64(s.aad[4:], seq)
	return s.aad[:12]
}

// gather returns payload and trailer in one piece: in body where payload lies
// there already, behind the payload where s allows borrowing (borrowed is
// true and s.saved holds what was there), else in body, a part of pkt, by a copy.
func gather(s *Scratch, pkt, body, payload []byte, t trailer) (plain []byte, borrowed bool) {
	n := len(payload)
	if n > 0 && &payload[0] == &body[0] {
		t.put(body[n:])
		return body, false
	}
	if s.Borrow && cap(payload)-n >= t.len() {
		plain = payload[:n+t.len()]
		if !overlap(plain, pkt) {
			copy(s.saved[:], plain[n:])
			t.put(plain[n:])
			return plain, true
		}
	}
	copy(body, payload)
	t.put(body[n:])
	return body, false
}
