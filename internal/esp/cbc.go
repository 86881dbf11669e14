package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// cbc is a block cipher in CBC mode (RFC 2451, 3602) or NULL (RFC 2410), then
// a MAC over everything before the ICV (RFC 2403, 2404, 4868). Either may be
// missing: NULL has no cipher, and ESP below AH may have no MAC.
type cbc struct {
	block  cipher.Block // nil: NULL
	seed   cipher.Block // makes IVs; nil on the receiving side and for NULL
	states states
	iv     int
	icv    int // octets of the MAC that travel
	esn    bool
}

var errNoSeed = errors.New("a CBC suite needs randomness for its IVs")

func newCBC(encr *suite.Encr, integ *suite.Integ, sa ipsec.SA, rand io.Reader) (transform, sizes, error) {
	c := &cbc{esn: sa.Transform.ESN}
	z := sizes{head: 8, align: 4, block: 1}
	if encr.NewBlock != nil {
		b, err := encr.NewBlock(sa.EncrKey.Bytes())
		if err != nil {
			return nil, sizes{}, fmt.Errorf("%s: %w", encr.Name, err)
		}
		c.block, c.iv = b, b.BlockSize()
		z = sizes{head: 8 + c.iv, align: max(c.iv, 4), block: c.iv}
		if sa.Dir == ipsec.Out {
			if c.seed, err = newSeed(rand); err != nil {
				return nil, sizes{}, err
			}
		}
	}
	if integ != nil {
		c.icv = integ.ICV
		c.states.mac = integ.New(sa.IntegKey.Bytes())
		z.icv = c.icv
	}
	return c, z, nil
}

// newSeed keys the generator of IVs. RFC 3602, 3 wants them unpredictable,
// and each is used once. So the IV is the sequence number, a counter that does
// not repeat, encrypted with AES under a key of its own: 16 octets drawn for
// this SA. That is a permutation nobody outside can predict, needs no state
// between packets and so no lock, and costs one AES block. A key of its own,
// rather than the SA's, makes the IVs fresh even when a manually keyed SA is
// installed twice with the same keys, and keeps them independent of the
// ciphertext blocks. For 3DES the first half of the block serves.
func newSeed(rand io.Reader) (cipher.Block, error) {
	if rand == nil {
		return nil, errNoSeed
	}
	var key [16]byte
	if _, err := io.ReadFull(rand, key[:]); err != nil {
		return nil, fmt.Errorf("read IV seed: %w", err)
	}
	return aes.NewCipher(key[:])
}

// makeIV writes the IV of packet seq into iv.
func (c *cbc) makeIV(s *Scratch, iv []byte, seq uint64) {
	clear(s.nonce[:8])
	binary.BigEndian.PutUint64(s.nonce[8:], seq)
	c.seed.Encrypt(s.nonce[:], s.nonce[:])
	copy(iv, s.nonce[:])
}

func (c *cbc) seal(s *Scratch, pkt, payload []byte, t trailer, seq uint64) {
	st := c.states.take()
	head, end := 8+c.iv, len(pkt)-c.icv
	body := pkt[head:end]
	if c.block == nil {
		copy(body, payload)
		t.put(body[len(payload):])
	} else {
		iv := pkt[8:head]
		c.makeIV(s, iv, seq)
		enc := st.encrypter(c.block, iv)
		// Whole blocks go from the payload straight into the packet;
		// the last, with the trailer, is put together there first.
		n := len(payload) - len(payload)%c.iv
		enc.CryptBlocks(body[:n], payload[:n])
		copy(body[n:], payload[n:])
		t.put(body[len(payload):])
		enc.CryptBlocks(body[n:], body[n:])
	}
	if st.mac != nil {
		copy(pkt[end:], c.sum(s, st, pkt[:end], seq))
	}
	c.states.give(st)
}

func (c *cbc) open(s *Scratch, pkt []byte, seq uint64) bool {
	st := c.states.take()
	head, end := 8+c.iv, len(pkt)-c.icv
	good := st.mac == nil || subtle.ConstantTimeCompare(c.sum(s, st, pkt[:end], seq), pkt[end:]) == 1
	if good && c.block != nil {
		st.decrypter(c.block, pkt[8:head]).CryptBlocks(pkt[head:end], pkt[head:end])
	}
	c.states.give(st)
	return good
}

// sum is the MAC over covered, with ESN followed by the high half of seq,
// which does not travel (RFC 4303 section 2.2.1), cut to its size on the wire.
func (c *cbc) sum(s *Scratch, st *state, covered []byte, seq uint64) []byte {
	st.mac.Reset()
	st.mac.Write(covered)
	if c.esn {
		binary.BigEndian.PutUint32(s.aad[:], uint32(seq>>32))
		st.mac.Write(s.aad[:4])
	}
	return st.mac.Sum(s.sum[:0])[:c.icv]
}
