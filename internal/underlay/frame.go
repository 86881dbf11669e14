package underlay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// streamPrefix begins a TCP connection that carries IKE and ESP, from who
// opened it to who accepted it and not back, RFC 9329 section 4.
const streamPrefix = "IKETCP"

const (
	// frameHeader is the length field before each message of a stream, which
	// counts itself, RFC 9329 section 3.
	frameHeader = 2
	maxFrame    = 1<<16 - 1

	// firstFrame is the room for a message that a stream begins with: most are
	// not longer than one packet of the device.
	firstFrame = 2048
)

var errPrefix = errors.New("it does not begin with the prefix of IKE over TCP")

// readPrefix reads the prefix of a stream.
func readPrefix(r io.Reader) error {
	var b [len(streamPrefix)]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return fmt.Errorf("read stream prefix: %w", err)
	}
	if string(b[:]) != streamPrefix {
		return errPrefix
	}
	return nil
}

// frames reads the messages of a stream. What it holds is one message, never
// longer than maxFrame, however slowly the stream comes.
type frames struct {
	r   io.Reader
	buf []byte
}

// next returns the next message, with its non-ESP marker if it is IKE, valid
// until the call after. The error is io.EOF where the stream ends between two
// messages. After any error there is no way back into step: the stream is over.
func (f *frames) next() ([]byte, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[:])) - frameHeader
	if n <= 0 {
		return nil, fmt.Errorf("message of %d octets with its length field", n+frameHeader)
	}
	if n > len(f.buf) {
		f.buf = make([]byte, max(n, firstFrame))
	}
	if _, err := io.ReadFull(f.r, f.buf[:n]); err != nil {
		return nil, fmt.Errorf("read message of %d octets: %w", n, noEOF(err))
	}
	return f.buf[:n], nil
}

// noEOF tells a stream that ends within a message from one that ends.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// frame returns a new frame of the parts of one message, nil where they are
// empty or too long.
func frame(parts ...[]byte) []byte {
	n := frameHeader
	for _, p := range parts {
		n += len(p)
	}
	if n == frameHeader || n > maxFrame {
		return nil
	}
	b := binary.BigEndian.AppendUint16(make([]byte, 0, n), uint16(n))
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
