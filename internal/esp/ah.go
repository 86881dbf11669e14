package esp

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"cygnet/internal/ipsec"
)

// The Authentication Header, RFC 4302:
//
//	| next | length | reserved | SPI | sequence | ICV | padding |
//	|<-------------- 12 octets ------------->|
//
// The length counts 32-bit words, less two.
const ahFixed = 12

// authenticator is what both ends of an AH SA have: the MAC over an IP packet
// with its mutable fields taken as zero.
type authenticator struct {
	states states
	icv    int
	esn    bool
}

var errNoInteg = errors.New("AH without integrity transform")

func newAuthenticator(sa ipsec.SA) (*authenticator, error) {
	if sa.ID.Proto != ipsec.AH {
		return nil, fmt.Errorf("protocol %s is not AH", sa.ID.Proto)
	}
	integ, err := integOf(sa)
	if err != nil {
		return nil, err
	}
	if integ == nil {
		return nil, errNoInteg
	}
	a := &authenticator{icv: integ.ICV, esn: sa.Transform.ESN}
	a.states.mac = integ.New(sa.IntegKey.Bytes())
	return a, nil
}

// headLen is the length of the whole header. RFC 4302, 3.3.3.2.1: a multiple
// of 4 octets under IPv4 and of 8 under IPv6, by padding behind the ICV.
func (a *authenticator) headLen(v6 bool) int {
	if v6 {
		return (ahFixed + a.icv + 7) &^ 7
	}
	return (ahFixed + a.icv + 3) &^ 3
}

// sum is the ICV of pkt, whose AH lies at pkt[at:at+size], RFC 4302 section
// 3.3.3: the headers before with their mutable fields zero, AH with a zero
// ICV, everything behind, and with ESN the high half of seq. It is valid
// until s is used again; ErrHeader where the IP headers make no sense.
func (a *authenticator) sum(s *Scratch, pkt []byte, at, size int, seq uint64, sending bool) ([]byte, error) {
	head := s.grow(at + size)
	copy(head, pkt[:at+size])
	if !zeroMutable(head[:at], sending) {
		return nil, ErrHeader
	}
	clear(head[at+ahFixed : at+ahFixed+a.icv]) // the padding counts as it is

	st := a.states.take()
	st.mac.Reset()
	st.mac.Write(head)
	st.mac.Write(pkt[at+size:])
	if a.esn {
		binary.BigEndian.PutUint32(s.aad[:], uint32(seq>>32))
		st.mac.Write(s.aad[:4])
	}
	sum := st.mac.Sum(s.sum[:0])[:a.icv]
	a.states.give(st)
	return sum, nil
}

// AHOut is the sending end of an AH SA. All methods are safe for concurrent use.
type AHOut struct {
	*authenticator
	sequence
	spi  uint32
	head int
}

// NewAHOut makes the sending end of sa. The key of sa is used where it lies.
func NewAHOut(sa ipsec.SA) (*AHOut, error) {
	a, err := newAuthenticator(sa)
	if err != nil {
		return nil, fmt.Errorf("outbound SA %s: %w", sa.ID, err)
	}
	o := &AHOut{authenticator: a, spi: uint32(sa.ID.SPI), head: a.headLen(sa.ID.Dst.Is6())}
	o.end = lastSequence(sa)
	return o, nil
}

// HeadLen returns the octets of the header that Seal writes.
func (o *AHOut) HeadLen() int { return o.head }

// Seal writes the AH into pkt[at:at+HeadLen()]. pkt is the whole IP packet as
// it will leave, its length, checksum and protocol (51) filled in, with room
// at at, where TransportOffset or the end of the outer header says. next is
// the protocol of what follows, seq comes from Reserve. ErrHeader where the
// headers do not lead to at.
func (o *AHOut) Seal(s *Scratch, pkt []byte, at int, seq uint64, next uint8) error {
	if at < 0 || at+o.head > len(pkt) {
		return ErrHeader
	}
	ah := pkt[at : at+o.head]
	ah[0] = next
	ah[1] = uint8(o.head/4 - 2)
	ah[2], ah[3] = 0, 0
	binary.BigEndian.PutUint32(ah[4:], o.spi)
	binary.BigEndian.PutUint32(ah[8:], uint32(seq))
	clear(ah[ahFixed:])
	sum, err := o.sum(s, pkt, at, o.head, seq, true)
	if err != nil {
		return err
	}
	copy(ah[ahFixed:], sum)
	return nil
}

// AHIn is the receiving end of an AH SA. Open and Stats are safe for
// concurrent use; the rest is serialised by the caller, as for In.
type AHIn struct {
	*authenticator
	arrivals
}

// NewAHIn makes the receiving end of sa. The key of sa is used where it lies.
func NewAHIn(sa ipsec.SA) (*AHIn, error) {
	a, err := newAuthenticator(sa)
	if err == nil {
		err = checkReplay(sa)
	}
	if err != nil {
		return nil, fmt.Errorf("inbound SA %s: %w", sa.ID, err)
	}
	i := &AHIn{authenticator: a}
	i.arrivals = arrivals{esn: sa.Transform.ESN, window: NewWindow(sa.Replay)}
	return i, nil
}

// Sequence is In.Sequence for the packet whose AH begins at ah.
func (i *AHIn) Sequence(ah []byte) (seq uint64, ok bool) {
	if len(ah) < ahFixed+i.icv {
		i.stats.short.Add(1)
		return 0, false
	}
	return i.expect(binary.BigEndian.Uint32(ah[8:]))
}

// Open verifies pkt, a whole IP packet, reassembled, whose AH begins at at,
// and leaves it unchanged. It returns the length of the AH, for the caller to
// cut out, and the protocol of what follows. ErrShort, ErrAuth and ErrHeader
// are counted, the last as Short.
func (i *AHIn) Open(s *Scratch, pkt []byte, at int, seq uint64) (size int, next uint8, err error) {
	size, ok := i.size(pkt, at)
	if !ok {
		i.stats.short.Add(1)
		return 0, 0, ErrShort
	}
	sum, err := i.sum(s, pkt, at, size, seq, false)
	if err != nil {
		i.stats.short.Add(1)
		return 0, 0, err
	}
	if subtle.ConstantTimeCompare(sum, pkt[at+ahFixed:at+ahFixed+i.icv]) != 1 {
		i.stats.auth.Add(1)
		return 0, 0, ErrAuth
	}
	return size, pkt[at], nil
}

// size is the length of the header at pkt[at:] when it is one that a sender of
// this SA may use. Under IPv4 that is also padding to 8 octets, which Linux
// uses unless told otherwise.
func (i *AHIn) size(pkt []byte, at int) (int, bool) {
	if at < 20 || at+ahFixed > len(pkt) {
		return 0, false
	}
	size := (int(pkt[at+1]) + 2) * 4
	v6 := pkt[0]>>4 == 6
	ok := size == i.headLen(true) || !v6 && size == i.headLen(false)
	return size, ok && at+size <= len(pkt)
}
