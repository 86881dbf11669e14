// Package tun opens TUN devices and moves packets, or superpackets of many
// segments, through their queues; Pair is the same in memory for tests. It
// knows nothing of IPsec. Each queue is read by one goroutine; writes may come
// from several and are serialised.
package tun

import "errors"

// ErrAgain says that a queue has no packet waiting.
var ErrAgain = errors.New("no packet waiting")

// Device is a network device whose other end is this process.
type Device interface {
	Name() string
	// Queues are fixed at opening; the kernel keeps a flow on one queue.
	Queues() []Queue
	// Offloads says which superpackets may be written.
	Offloads() Offloads
	// Close ends the reads that wait. A persistent device stays.
	Close() error
}

// Queue is one queue of a device.
type Queue interface {
	// Read stores one packet behind its Header in b and returns the length of
	// both. With wait it blocks until there is one; without, ErrAgain says
	// that there is none now. After Close the error is os.ErrClosed. A packet
	// longer than b is cut off; MaxRead is always enough.
	Read(b []byte, wait bool) (int, error)
	// Write hands over one packet, which is the concatenation of parts and
	// begins with a Header. It blocks while the device is full. The parts may
	// be reused on return.
	Write(parts [][]byte) error
}

// Offloads says what the other end of the device takes apart for us.
type Offloads struct {
	TCP bool // GSOTCP4, GSOTCP6
	UDP bool // GSOUDP (Linux 6.2 and later)
}

// MaxRead is the longest Read: a header and an IP packet.
const MaxRead = HeaderLen + 65535

// MaxParts is the largest number of parts of one Write.
const MaxParts = 256
