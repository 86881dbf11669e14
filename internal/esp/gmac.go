package esp

import "encoding/binary"

// gmac is ENCR_NULL_AUTH_AES_GMAC, RFC 4543: the payload travels in the clear
// and the AEAD authenticates it as additional data.
type gmac struct{ aead }

func (g *gmac) seal(s *Scratch, pkt, payload []byte, t trailer, seq uint64) {
	end := len(pkt) - g.Overhead()
	binary.BigEndian.PutUint64(pkt[8:], seq)
	body := pkt[8+g.iv : end]
	copy(body, payload)
	t.put(body[len(payload):])
	g.Seal(pkt[end:end], g.nonce(s, pkt), nil, g.covered(s, pkt[:end], seq))
}

func (g *gmac) open(s *Scratch, pkt []byte, seq uint64) bool {
	end := len(pkt) - g.Overhead()
	_, err := g.Open(pkt[end:end], g.nonce(s, pkt), pkt[end:], g.covered(s, pkt[:end], seq))
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
