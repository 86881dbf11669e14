package esp

import (
	"encoding/binary"
	"fmt"
	"io"

	"cygnet/internal/ipsec"
)

// Out is the sending end of an ESP SA. All methods are safe for concurrent use.
type Out struct {
	transform
	sequence
	spi   uint32
	sizes sizes
}

// NewOut makes the sending end of sa. rand supplies the IV seed of CBC
// suites (16 octets, read here once); AEAD and NULL suites never read it and
// take nil. The error says what does not fit together. The keys of sa are not
// needed any more afterwards and may be wiped.
func NewOut(sa ipsec.SA, rand io.Reader) (*Out, error) {
	t, z, err := newTransform(sa, rand)
	if err != nil {
		return nil, fmt.Errorf("outbound SA %s: %w", sa.ID, err)
	}
	o := &Out{transform: t, spi: uint32(sa.ID.SPI), sizes: z}
	o.end = lastSequence(sa)
	return o, nil
}

// HeadLen returns the octets before the payload: SPI, sequence number, IV.
func (o *Out) HeadLen() int { return o.sizes.head }

// SealedLen returns the octets of the ESP packet that carries payload octets
// without extra padding.
func (o *Out) SealedLen(payload int) int { return o.sizes.sealed(payload) }

// MaxPayload returns the largest payload whose SealedLen is at most limit;
// negative when not even an empty one fits.
func (o *Out) MaxPayload(limit int) int { return o.sizes.maxPayload(limit) }

// PadFor returns the pad that makes Seal produce exactly sealed octets from a
// payload of payload octets; ok is false where no padding can.
func (o *Out) PadFor(payload, sealed int) (pad int, ok bool) {
	pad = sealed - o.sizes.sealed(payload)
	return pad, pad >= 0 && o.sizes.padding(payload, pad) == o.sizes.padding(payload, 0)+pad
}

// Seal writes the ESP packet for payload into dst, whose length is at least
// SealedLen(len(payload)) plus pad, and returns it as a part of dst. next is
// the protocol of the payload (4 or 41 in tunnel mode, RFC 4303 section 2.6).
//
// seq comes from Reserve and is used for one packet only: it is the nonce of
// an AEAD.
//
// payload either lies at dst[HeadLen():] exactly, or does not overlap dst. In
// the second case it is only read, unless s.Borrow is set.
//
// pad asks for more octets of padding, RFC 4303 section 2.4, such as to make
// all packets of a batch equally long. It is rounded down to what alignment
// and the limit of 255 permit; PadFor finds a pad that will be met exactly.
// Longer cover traffic (section 2.7) is zeros that the caller puts behind
// the inner packet.
func (o *Out) Seal(s *Scratch, dst []byte, seq uint64, next uint8, payload []byte, pad int) []byte {
	padding := o.sizes.padding(len(payload), pad)
	pkt := dst[:o.sizes.head+len(payload)+padding+2+o.sizes.icv]
	binary.BigEndian.PutUint32(pkt, o.spi)
	binary.BigEndian.PutUint32(pkt[4:], uint32(seq))
	o.seal(s, pkt, payload, trailer{padding, next}, seq)
	return pkt
}
