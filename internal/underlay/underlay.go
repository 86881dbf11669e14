// Package underlay is the network outside the tunnels: the UDP sockets of IKE
// and of ESP in UDP, raw sockets for ESP and AH, and the raw way out for
// packets that policy lets pass in clear. It splits IKE from ESP (RFC 3948)
// and knows nothing of SAs. NewPair is the same in memory, for tests.
//
// A Receiver and a Sender belong to one goroutine each; all other methods may
// be called from any.
package underlay

import (
	"net/netip"

	"cygnet/internal/ipsec"
)

// Underlay is the sockets of one physical device.
type Underlay interface {
	// Receivers are the sources of ESP and AH. Each wants a goroutine.
	Receivers() []Receiver
	// Listen begins to receive IPComp (ipsec.Comp) or IP-in-IP (ipsec.Tun),
	// which the system's own stack would take otherwise, and returns the
	// receivers that are new. A second call for the same protocol returns none.
	Listen(ipsec.Proto) ([]Receiver, error)
	// NewSender returns a way out for one goroutine, which shares sockets with
	// the others of the same worker number modulo the number of queues.
	NewSender(worker int) Sender
	// MTU is the physical device's, in octets.
	MTU() int
	// NotifyTooBig sets what is called, from a receiver's goroutine, when the
	// network reports an ESP packet of ours as too long.
	NotifyTooBig(func(TooBig))

	// IKE delivers IKE messages of all ports, without non-ESP marker. It is
	// bounded; what does not fit is dropped and counted. Closed by Close.
	IKE() <-chan Datagram
	// SendIKE sends msg from local, whose port says by which socket, and adds
	// the non-ESP marker where that is the NAT traversal port.
	SendIKE(local, remote netip.AddrPort, msg []byte) error
	// SendKeepalive sends a NAT keepalive, RFC 3948 section 2.3.
	SendKeepalive(local, remote netip.AddrPort) error

	// SendStream sends msg over the TCP connection between these ends (RFC 9329),
	// with the non-ESP marker. It fails where there is none, or no room in its
	// queue.
	SendStream(local, remote netip.AddrPort, msg []byte) error
	// DialTCP opens such a connection, unless there is one. It returns
	// at once: messages wait while it is being opened, and are lost if that fails.
	DialTCP(local, remote netip.AddrPort) error
	// ConfirmTCP says that an IKE SA stands on a TCP connection, which then stays as
	// long as something comes. Others end after half a minute.
	ConfirmTCP(local, remote netip.AddrPort)
	// HangUpTCP closes a TCP connection when what waits for it has left.
	HangUpTCP(local, remote netip.AddrPort)

	// Drops tells what went nowhere here, in fixed order.
	Drops() []ipsec.Counter
	Close() error
}

// Datagram is one IKE message. Without Msg it says that a TCP connection is over
// which we had opened and which was confirmed.
type Datagram struct {
	Local, Remote netip.AddrPort
	Msg           []byte // owned by whoever receives it
	Stream        bool   // came by TCP
}

// Receiver delivers protected packets.
type Receiver interface {
	// Read blocks until something arrives. The result and the octets it points
	// to, which the caller may change, are valid until the next Read. After
	// Close the error is os.ErrClosed.
	Read() ([]Arrival, error)
}

// Arrival is one protected packet, or a train of ESP packets that came from one
// address together (UDP_GRO), of any mixture of SAs.
type Arrival struct {
	Proto  ipsec.Proto
	Encap  bool           // came in UDP, or in TCP
	Stream bool           // in TCP
	Remote netip.AddrPort // port 0 unless Encap
	Local  netip.Addr
	TOS    uint8 // of the outer header; of the first packet in a train
	Data   []byte
	// Head is how many octets of Data are the IP header, 0 where the socket
	// does not show it (in UDP). Of IPv6 it is made from what the socket tells,
	// so it lacks extension headers and says 0 where routers may write.
	Head int
	Seg  int // length of each packet of a train but the last, trains being in UDP
}

// Message is one protected packet to send, or a train of them.
type Message struct {
	Proto ipsec.Proto
	Encap bool
	// Stream is our port of the TCP connection to Remote that the message goes by,
	// with Encap, or not at all; 0: not by TCP.
	Stream uint16
	Local  netip.Addr     // source; the zero value leaves it to the routing table
	Remote netip.AddrPort // port ignored unless Encap
	TOS    uint8
	DF     bool // never fragment
	// Whole says that Data is an IP packet with its header, which AH covers: it
	// is sent as it is, and only if it is not longer than MTU. Of the fields
	// above only Remote counts then.
	Whole bool
	Data  []byte
	Seg   int // length of each packet of a train but the last; trains need Encap
}

// Sender sends for one goroutine.
type Sender interface {
	// Send sends msgs in order and blocks while the socket is full.
	Send(msgs []Message) Result
	// SendClear sends finished IP packets as they are, none longer than MTU.
	SendClear(packets [][]byte) Result
}

// Result counts the packets of one Send that did not leave.
type Result struct {
	TooBig int // longer than the device's MTU, with DF
	Failed int // no route, no buffers, refused by the kernel
}

// TooBig is an ICMP report about a packet of ours.
type TooBig struct {
	Remote netip.Addr
	Proto  ipsec.Proto
	SPI    ipsec.SPI // quoted by the report; reports that quote too little are dropped
	MTU    int       // of the outer packet, unchecked
}
