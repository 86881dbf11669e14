package esp

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"cygnet/internal/ipsec"
)

// The IPComp header, RFC 3173 section 3.1: next header, flags, CPI.
const compHead = 4

// compThreshold is the payload below which compressing is not tried: RFC 2394
// section 4 found no gain under 90 octets.
const compThreshold = 90

// CPIDeflate is the well-known CPI of DEFLATE, RFC 3173 section 3.3.
const CPIDeflate = 2

// ErrTooLong: a compressed packet expands beyond what the receiver allows.
var ErrTooLong = errors.New("compressed packet expands too far")

// ErrCompressed: a compressed packet is not valid DEFLATE, or is nested.
var ErrCompressed = errors.New("malformed compressed packet")

// compressor is the part of a Scratch for IPComp. Its halves are made on first
// use, because the sending one takes some hundred kilobytes.
type compressor struct {
	w   *flate.Writer
	r   io.ReadCloser
	in  bytes.Reader
	out fixedWriter
}

// fixedWriter collects into b and fails when it is full.
type fixedWriter struct{ b []byte }

var errFull = errors.New("no room")

func (w *fixedWriter) Write(p []byte) (int, error) {
	if len(p) > cap(w.b)-len(w.b) {
		return 0, errFull
	}
	w.b = append(w.b, p...)
	return len(p), nil
}

// CompOut is the sending end of an IPComp SA, DEFLATE (RFC 2394). Its methods
// are safe for concurrent use.
type CompOut struct {
	cpi      uint16
	patience patience
}

// NewCompOut makes the sending end of sa, whose SPI is the CPI.
func NewCompOut(sa ipsec.SA) (*CompOut, error) {
	cpi, err := compCPI(sa)
	if err != nil {
		return nil, fmt.Errorf("outbound SA %s: %w", sa.ID, err)
	}
	return &CompOut{cpi: cpi}, nil
}

func compCPI(sa ipsec.SA) (uint16, error) {
	if sa.ID.Proto != ipsec.Comp {
		return 0, fmt.Errorf("protocol %s is not IPComp", sa.ID.Proto)
	}
	if sa.ID.SPI == 0 || sa.ID.SPI > 0xffff {
		return 0, fmt.Errorf("CPI %#x is outside 1 to 0xffff", uint32(sa.ID.SPI))
	}
	return uint16(sa.ID.SPI), nil
}

// Compress writes the IPComp header and payload, compressed, into dst, which
// does not overlap payload, and returns it as a part of dst. ok is false where
// that would not be shorter than payload (RFC 3173 section 2.2), or was not
// tried; then payload travels as it is, without any IPComp header. next is the
// protocol of payload. dst needs no more than len(payload) octets.
func (c *CompOut) Compress(s *Scratch, dst []byte, next uint8, payload []byte) (pkt []byte, ok bool) {
	if len(payload) < compThreshold || !c.patience.try() {
		return nil, false
	}
	room := min(len(dst), len(payload)-1)
	if room < compHead {
		return nil, false
	}
	pkt, ok = s.comp.deflate(dst[:compHead:room], payload)
	c.patience.learn(ok)
	if ok {
		pkt[0], pkt[1] = next, 0 // flags: reserved
		binary.BigEndian.PutUint16(pkt[2:], c.cpi)
	}
	return pkt, ok
}

// deflate appends payload, compressed, to dst within its capacity.
func (c *compressor) deflate(dst, payload []byte) ([]byte, bool) {
	c.out.b = dst
	defer func() { c.out.b = nil }()
	if c.w == nil {
		// The level cannot be wrong.
		c.w, _ = flate.NewWriter(&c.out, flate.DefaultCompression)
	} else {
		c.w.Reset(&c.out)
	}
	if _, err := c.w.Write(payload); err != nil {
		return nil, false
	}
	if err := c.w.Close(); err != nil {
		return nil, false
	}
	return c.out.b, true
}

// CompIn is the receiving end of an IPComp SA. It has no state, and so no
// replay window; the ESP or AH around it has. Uncompressed packets that come
// without an IPComp header, which the peer may choose for each packet, do not
// come here.
type CompIn struct{ cpi uint16 }

// NewCompIn makes the receiving end of sa.
func NewCompIn(sa ipsec.SA) (*CompIn, error) {
	cpi, err := compCPI(sa)
	if err != nil {
		return nil, fmt.Errorf("inbound SA %s: %w", sa.ID, err)
	}
	return &CompIn{cpi}, nil
}

// Decompress expands pkt, which starts at its IPComp header, into dst, which
// does not overlap it. ErrTooLong when the result has more than len(dst)
// octets: that is the bound on bombs, so dst is as long as the largest packet
// the receiver wants. ErrShort; ErrHeader for the CPI of another SA (but
// CPIDeflate, which needs no negotiation, is taken by each); ErrCompressed for
// a damaged stream and for compression within compression (RFC 3173, 2: a
// packet is compressed once).
func (c *CompIn) Decompress(s *Scratch, dst, pkt []byte) (payload []byte, next uint8, err error) {
	if len(pkt) <= compHead {
		return nil, 0, ErrShort
	}
	if cpi := binary.BigEndian.Uint16(pkt[2:]); cpi != c.cpi && cpi != CPIDeflate {
		return nil, 0, ErrHeader
	}
	next = pkt[0]
	if next == uint8(ipsec.Comp) {
		return nil, 0, ErrCompressed
	}
	n, err := s.comp.inflate(dst, pkt[compHead:])
	if err != nil {
		return nil, 0, err
	}
	return dst[:n], next, nil
}

// inflate expands data into dst and returns the octets written.
func (c *compressor) inflate(dst, data []byte) (int, error) {
	c.in.Reset(data)
	defer c.in.Reset(nil)
	if c.r == nil {
		c.r = flate.NewReader(&c.in)
	} else if err := c.r.(flate.Resetter).Reset(&c.in, nil); err != nil {
		return 0, ErrCompressed
	}
	n := 0
	for {
		if n == len(dst) {
			return c.atEnd(n)
		}
		k, err := c.r.Read(dst[n:])
		n += k
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return 0, ErrCompressed
		}
	}
}

// atEnd tells whether the stream ends after exactly n octets.
func (c *compressor) atEnd(n int) (int, error) {
	var more [1]byte
	for {
		k, err := c.r.Read(more[:])
		switch {
		case k > 0:
			return 0, ErrTooLong
		case err == io.EOF:
			return n, nil
		case err != nil:
			return 0, ErrCompressed
		}
	}
}

// patience decides whether compressing is worth trying. Most traffic is
// compressed or encrypted already, and finding that out for each packet costs
// more than all the rest of sending it. After eight vain tries in a row four
// packets are skipped; each two further vain tries double that, up to 128.
// One success ends it. Concurrent callers may blur the counts, which harms
// nothing.
type patience struct{ vain, skip atomic.Int32 }

const (
	patienceTries = 8
	patienceSkip  = 4
	patienceMax   = 128
)

func (p *patience) try() bool {
	if p.skip.Load() <= 0 {
		return true
	}
	return p.skip.Add(-1) < 0
}

func (p *patience) learn(worked bool) {
	if worked {
		p.vain.Store(0)
		return
	}
	vain := p.vain.Add(1)
	if beyond := vain - patienceTries; beyond >= 0 && beyond%2 == 0 {
		p.skip.Store(min(patienceSkip<<min(beyond/2, 5), int32(patienceMax)))
	}
}
