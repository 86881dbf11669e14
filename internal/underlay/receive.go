package underlay

import (
	"encoding/binary"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"cygnet/internal/ipsec"
)

// mmsghdr is struct mmsghdr of recvmmsg(2) on 64-bit machines.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   uint32
}

const controlLen = 128 // pktinfo, TOS and GRO size, with room

// receiver reads one socket with recvmmsg. All memory is its own and reused.
type receiver struct {
	h *Host
	s *socket

	msgs  [maxBatch]mmsghdr
	iov   [maxBatch]unix.Iovec
	names [maxBatch]unix.RawSockaddrInet6 // large enough for IPv4 as well
	ctl   [maxBatch][controlLen]byte
	mem   [maxBatch][]byte // what iov points into, behind head octets
	head  int              // room for the IP header that the socket does not deliver
	bufs  int              // buffers in use, minBatch to maxBatch

	fn    func(fd uintptr) bool // tryRecv, made once
	got   int
	errno syscall.Errno
	idle  bool // the last attempt found nothing

	out []Arrival
}

func newReceiver(h *Host, s *socket) *receiver {
	r := &receiver{h: h, s: s}
	if s.v6 && !s.udp {
		r.head = ipv6HeaderLen
	}
	r.fn = r.tryRecv
	r.grow(minBatch)
	return r
}

func (r *receiver) grow(n int) {
	for i := r.bufs; i < n; i++ {
		r.mem[i] = make([]byte, r.head+bufLen)
		r.iov[i].Base = &r.mem[i][r.head]
		r.iov[i].SetLen(bufLen)
		m := &r.msgs[i].hdr
		m.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		m.Iov = &r.iov[i]
		m.Iovlen = 1
		m.Control = &r.ctl[i][0]
	}
	r.bufs = n
}

// Read implements Receiver.
func (r *receiver) Read() ([]Arrival, error) {
	for {
		n, err := r.recv()
		if err != nil {
			return nil, err
		}
		r.out = r.out[:0]
		for i := range n {
			r.accept(r.arrival(i))
		}
		if len(r.out) > 0 {
			return r.out, nil
		}
	}
}

// accept puts a into out, without what is not ESP or AH.
func (r *receiver) accept(a Arrival) {
	switch {
	case len(a.Data) == 0:
	case !a.Encap:
		r.out = append(r.out, a)
	default:
		split(a.Data, a.Seg, func(b []byte) {
			a.Data = b
			r.out = append(r.out, a)
		}, func(k kind, b []byte) { r.divert(k, a, b) })
	}
}

func (r *receiver) divert(k kind, a Arrival, b []byte) {
	switch k {
	case kindIKE:
		if len(b) == markerLen {
			r.h.drops.ikeMarker.Add(1)
			return
		}
		r.h.deliverIKE(a.Local, r.h.o.NATTPort, a.Remote, b[markerLen:])
	case kindKeepalive:
		r.h.drops.keepalive.Add(1)
	case kindShort:
		r.h.drops.short.Add(1)
	}
}

// recv blocks until messages have arrived and returns their number.
func (r *receiver) recv() (int, error) {
	if r.got == r.bufs && r.bufs < maxBatch {
		r.grow(min(2*r.bufs, maxBatch))
	}
	for {
		r.idle = false
		if err := r.s.raw.Read(r.fn); err != nil {
			return 0, os.ErrClosed // the poller has no other error
		}
		if r.errno == 0 {
			return r.got, nil
		}
		// An ICMP report about something we sent: its details wait in the
		// error queue, the socket itself is well.
		r.got = 0
		r.h.drainErrors(r.s)
	}
}

func (r *receiver) tryRecv(fd uintptr) bool {
	for i := range r.bufs {
		m := &r.msgs[i].hdr
		m.Namelen = unix.SizeofSockaddrInet6
		m.SetControllen(controlLen)
	}
	for {
		n, _, e := syscall.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.msgs[0])), uintptr(r.bufs), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case e == unix.EINTR:
			continue
		case e == unix.EAGAIN && !r.idle:
			r.idle = true
			return false
		case e == unix.EAGAIN:
			// Woken for nothing: the error queue has something.
			r.errno = e
			return true
		}
		r.got, r.errno = int(n), e
		return true
	}
}

// arrival describes message i. Data is empty for what must be ignored.
func (r *receiver) arrival(i int) Arrival {
	m := &r.msgs[i]
	a := Arrival{Proto: r.s.proto, Encap: r.s.udp, Data: r.mem[i][:r.head+int(m.n)]}
	if r.s.udp {
		a.Proto = ipsec.ESP
	}
	a.Remote = addrPort(&r.names[i])
	if !r.s.udp {
		a.Remote = netip.AddrPortFrom(a.Remote.Addr(), 0)
	}
	a.Seg = r.control(&a, r.ctl[i][:min(int(m.hdr.Controllen), controlLen)])
	if m.hdr.Flags&unix.MSG_TRUNC != 0 {
		r.h.drops.truncated.Add(1)
		a.Data = nil
	}
	if !r.s.udp && len(a.Data) > 0 {
		r.header(&a)
	}
	if a.Seg <= 0 {
		a.Seg = len(a.Data)
	}
	return a
}

// header finds the IP header of a packet from a raw socket, or makes it.
func (r *receiver) header(a *Arrival) {
	if !r.s.v6 {
		if a.Head = headLen4(a.Data); a.Head == 0 {
			a.Data = nil
		}
		return
	}
	a.Head = ipv6HeaderLen
	b := a.Data[:ipv6HeaderLen]
	clear(b)
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(len(a.Data)-ipv6HeaderLen))
	b[6] = r.s.number
	src, dst := a.Remote.Addr().As16(), a.Local.As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
}

// control reads the control messages into a and returns the size of the
// segments of a train, 0 without one.
func (r *receiver) control(a *Arrival, b []byte) (seg int) {
	for len(b) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			return seg
		}
		switch {
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 2:
			seg = int(binary.NativeEndian.Uint16(data))
		case h.Level == unix.SOL_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			a.Local = netip.AddrFrom4([4]byte(data[8:12])) // ipi_addr, the header's destination
		case h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			a.Local = netip.AddrFrom16([16]byte(data[:16]))
		case h.Level == unix.SOL_IP && h.Type == unix.IP_TOS && len(data) >= 1:
			a.TOS = data[0]
		case h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_TCLASS && len(data) >= 4:
			a.TOS = uint8(binary.NativeEndian.Uint32(data))
		}
		b = rest
	}
	return seg
}

const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
)

// headLen4 is the length of the IPv4 header that a raw socket delivers, 0 where
// there is none.
func headLen4(b []byte) int {
	if len(b) < ipv4HeaderLen {
		return 0
	}
	n := int(b[0]&15) * 4
	if n < ipv4HeaderLen || n > len(b) {
		return 0
	}
	return n
}

func addrPort(sa *unix.RawSockaddrInet6) netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&sa.Port))
	p := binary.BigEndian.Uint16(port[:])
	if sa.Family == unix.AF_INET6 {
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), p)
	}
	sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
	return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), p)
}
