package esp

import (
	"encoding/binary"
	"fmt"

	"cygnet/internal/ipsec"
)

// In is the receiving end of an ESP SA. Open and Stats are safe for concurrent
// use; Sequence, Accept, Top and Bits are serialised by the caller.
type In struct {
	transform
	arrivals
	sizes sizes
}

// NewIn makes the receiving end of sa. The error says what does not fit
// together. The keys of sa are not needed afterwards, as with NewOut.
func NewIn(sa ipsec.SA) (*In, error) {
	t, z, err := newTransform(sa, nil)
	if err == nil {
		err = checkReplay(sa)
	}
	if err != nil {
		return nil, fmt.Errorf("inbound SA %s: %w", sa.ID, err)
	}
	i := &In{transform: t, sizes: z}
	i.arrivals = arrivals{esn: sa.Transform.ESN, window: NewWindow(sa.Replay)}
	return i, nil
}

// MinLen returns the octets of the smallest packet that Open can accept.
func (i *In) MinLen() int { return i.sizes.sealed(0) }

// Sequence returns the sequence number of pkt, with ESN the whole 64 bits by
// the most likely guess, after looking whether the window could accept it: the
// cheap test before the expensive one, RFC 4303 section 3.4.3. When ok is
// false the packet is shorter than MinLen or replayed, which is counted.
func (i *In) Sequence(pkt []byte) (seq uint64, ok bool) {
	if len(pkt) < 8 || len(pkt) < i.sizes.head+2+i.sizes.icv {
		i.stats.short.Add(1)
		return 0, false
	}
	return i.expect(binary.BigEndian.Uint32(pkt[4:]))
}

// Open verifies pkt, which starts at its SPI, and decrypts it in place. seq is
// what Sequence returned. The payload is a part of pkt, without padding; next
// is its protocol (59 is a dummy packet, to be discarded, RFC 4303 section
// 2.6). In tunnel mode zeros may follow the inner packet (section 2.7).
// ErrShort, ErrAuth and ErrPad leave pkt in no useful state and are counted.
func (i *In) Open(s *Scratch, pkt []byte, seq uint64) (payload []byte, next uint8, err error) {
	if len(pkt) < i.sizes.head+2+i.sizes.icv || (len(pkt)-i.sizes.head-i.sizes.icv)%i.sizes.block != 0 {
		i.stats.short.Add(1)
		return nil, 0, ErrShort
	}
	if !i.open(s, pkt, seq) {
		i.stats.auth.Add(1)
		return nil, 0, ErrAuth
	}
	payload, next, ok := cutTrailer(pkt[i.sizes.head : len(pkt)-i.sizes.icv])
	if !ok {
		i.stats.pad.Add(1)
		return nil, 0, ErrPad
	}
	return payload, next, nil
}
