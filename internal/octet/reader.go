// Package octet reads and appends network-order fields with bounds checks.
// It knows no protocol. Every parser of peer-controlled bytes in this module
// goes through Reader, so there is one place where a length can be wrong.
// Values are used by one goroutine at a time.
package octet

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrShort is the error of a Reader that was asked for more octets than remain.
var ErrShort = errors.New("short input")

// Reader consumes a byte slice from the front. The first error sticks: after
// it every read returns zero values, so a parser may read a whole structure
// and look at Err once. Slices returned by Bytes and Rest alias the input.
type Reader struct {
	b   []byte
	off int // of b[0] in the original input, for messages
	err error
}

// NewReader returns a Reader over b, which it does not copy.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Err returns the first error met, or nil.
func (r *Reader) Err() error { return r.err }

// Offset returns how many octets of the original input were consumed.
func (r *Reader) Offset() int { return r.off }

// Len returns the number of octets that remain; 0 after an error.
func (r *Reader) Len() int { return len(r.b) }

// Fail records an error, with the offset, unless one is recorded already.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("offset %d: %w", r.off, err)
		r.b = nil
	}
}

// Bytes returns the next n octets.
func (r *Reader) Bytes(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.b) {
		r.Fail(ErrShort)
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	r.off += n
	return p
}

// Rest returns all octets that remain.
func (r *Reader) Rest() []byte { return r.Bytes(len(r.b)) }

// Skip discards n octets.
func (r *Reader) Skip(n int) { r.Bytes(n) }

// Sub returns a Reader over the next n octets whose errors carry offsets of
// the original input. A failure in it is not a failure of r.
func (r *Reader) Sub(n int) *Reader {
	off := r.off
	b := r.Bytes(n)
	return &Reader{b: b, off: off, err: r.err}
}

// Uint8 reads one octet.
func (r *Reader) Uint8() uint8 {
	if p := r.Bytes(1); p != nil {
		return p[0]
	}
	return 0
}

// Uint16 reads two octets, most significant first.
func (r *Reader) Uint16() uint16 {
	if p := r.Bytes(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

// Uint32 reads four octets, most significant first.
func (r *Reader) Uint32() uint32 {
	if p := r.Bytes(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

// Uint64 reads eight octets, most significant first.
func (r *Reader) Uint64() uint64 {
	if p := r.Bytes(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// AppendUint16 appends v, most significant octet first.
func AppendUint16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }

// AppendUint32 appends v, most significant octet first.
func AppendUint32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

// AppendUint64 appends v, most significant octet first.
func AppendUint64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// AppendLen16 appends a two-octet length followed by what body appends. The
// length counts the body plus extra octets (IKE payload lengths include their
// own header). A body that does not fit 16 bits is a programmer's error and
// panics; callers bound their input.
func AppendLen16(b []byte, extra int, body func([]byte) []byte) []byte {
	at := len(b)
	b = body(append(b, 0, 0))
	n := len(b) - at - 2 + extra
	if n > 0xffff {
		panic("octet: body longer than 65535 octets")
	}
	binary.BigEndian.PutUint16(b[at:], uint16(n))
	return b
}
