package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"

	"cygnet/internal/suite"
)

// encrGMAC is the transform ID of ENCR_NULL_AUTH_AES_GMAC.
const encrGMAC = 21

// gmacEncr describes it to newTransform. It stands here and not in package
// suite because no connection can ask for it: it is for manual SAs and tests.
var gmacEncr = suite.Encr{
	ID: encrGMAC, Name: "null_auth_aes_gmac", KLIPS: "ESP_NULL_AES_GMAC",
	KeyBits: []int{128, 192, 256}, Salt: 4, IV: 8, ICV: 16, Block: 4, AEAD: true,
	NewAEAD: func(key []byte) (cipher.AEAD, error) {
		b, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(b)
	},
}

// gmac is ENCR_NULL_AUTH_AES_GMAC, RFC 4543: the payload travels in the clear
// and the AEAD authenticates it as additional data.
type gmac struct{ aead }

func (g *gmac) seal(s *Scratch, pkt, payload []byte, t trailer, seq uint64) {
	end := len(pkt) - g.Overhead()
	binary.BigEndian.PutUint64(pkt[8:], seq)
	body := pkt[8+g.iv : end]
	copy(body, payload)
	t.put(body[len(payload):])
	g.Seal(pkt[end:end:len(pkt)], g.nonce(s, pkt), nil, g.covered(s, pkt[:end], seq))
}

func (g *gmac) open(s *Scratch, pkt []byte, seq uint64) bool {
	end := len(pkt) - g.Overhead()
	_, err := g.Open(nil, g.nonce(s, pkt), pkt[end:], g.covered(s, pkt[:end], seq))
	return err == nil
}

// covered is the packet up to its ICV, with ESN the high half put in front of
// the low one, RFC 4543 section 4; cipher.AEAD wants it in one piece.
func (g *gmac) covered(s *Scratch, pkt []byte, seq uint64) []byte {
	if !g.esn {
		return pkt
	}
	b := s.grow(len(pkt) + 4)
	copy(b, pkt[:4])
	binary.BigEndian.PutUint64(b[4:], seq)
	copy(b[12:], pkt[8:])
	return b
}
