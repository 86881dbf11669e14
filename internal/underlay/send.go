package underlay

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"cygnet/internal/ipsec"
)

// sender fills one sendmmsg at a time. It is used by one goroutine.
type sender struct {
	h      *Host
	worker int

	msgs  [sendBatch]mmsghdr
	iov   [sendBatch]unix.Iovec
	names [sendBatch]unix.RawSockaddrInet6
	ctl   [sendBatch][controlLen]byte
	train [sendBatch]int // segment size of trains, 0 for single packets
	n     int            // filled
	sent  int            // of them, sent or given up

	fn    func(fd uintptr) bool // trySend, made once
	errno syscall.Errno
}

// NewSender implements Underlay.
func (h *Host) NewSender(worker int) Sender { return h.newSender(worker) }

func (h *Host) newSender(worker int) *sender {
	s := &sender{h: h, worker: worker}
	s.fn = s.trySend
	return s
}

// Send implements Sender. Messages of one socket and DF mode go together.
func (s *sender) Send(msgs []Message) (res Result) {
	for len(msgs) > 0 {
		if msgs[0].Stream != 0 {
			s.sendStream(&msgs[0], &res)
			msgs = msgs[1:]
			continue
		}
		sock := s.socket(&msgs[0])
		k := 1
		for k < len(msgs) && msgs[k].Stream == 0 && msgs[k].DF == msgs[0].DF && s.socket(&msgs[k]) == sock {
			k++
		}
		if sock == nil {
			res.Failed += packets(msgs[:k])
		} else {
			s.sendOn(sock, msgs[:k], &res)
		}
		msgs = msgs[k:]
	}
	return res
}

// sendStream sends the packets of m by TCP, which has neither TOS nor DF of
// each. Without a connection they are lost: whose SA is of TCP has no other way.
func (s *sender) sendStream(m *Message, res *Result) {
	st := s.h.streams.to(netip.AddrPortFrom(m.Local, m.Stream), m.Remote)
	if st == nil {
		res.Failed += packets([]Message{*m})
		return
	}
	seg := max(m.Seg, 1)
	for b := m.Data; len(b) > 0; b = b[min(seg, len(b)):] {
		if !st.send(b[:min(seg, len(b))]) {
			res.Failed++
		}
	}
}

// SendClear implements Sender.
func (s *sender) SendClear(pkts [][]byte) (res Result) {
	for _, p := range pkts {
		sock, dst := s.clearSocket(p)
		if sock == nil {
			res.Failed++
			continue
		}
		s.push(sock, &Message{Whole: true, Remote: netip.AddrPortFrom(dst, 0)}, p, 0)
		s.flush(sock, &res)
	}
	return res
}

func (s *sender) clearSocket(p []byte) (*socket, netip.Addr) {
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		return s.h.clear[0], netip.AddrFrom4([4]byte(p[16:20]))
	case len(p) >= 40 && p[0]>>4 == 6:
		return s.h.clear[1], netip.AddrFrom16([16]byte(p[24:40]))
	}
	return nil, netip.Addr{}
}

// socket returns the socket for m, nil where there is none.
func (s *sender) socket(m *Message) *socket {
	f := 0
	if m.Remote.Addr().Is6() {
		f = 1
	}
	switch {
	case m.Whole:
		return s.h.clear[f]
	case m.Encap && len(s.h.natt[f]) > 0:
		return s.h.natt[f][s.worker%len(s.h.natt[f])]
	case m.Encap || m.Proto != ipsec.ESP || len(s.h.raw[f]) == 0:
		return nil
	}
	return s.h.raw[f][0]
}

func (s *sender) sendOn(sock *socket, msgs []Message, res *Result) {
	if msgs[0].DF {
		s.h.discover()
	}
	sock.mu.Lock()
	defer sock.mu.Unlock()
	defer s.h.rest(sock)
	if sock.setDF(msgs[0].DF) != nil {
		res.Failed += packets(msgs)
		return
	}
	for i := range msgs {
		m := &msgs[i]
		if m.Seg >= len(m.Data) || !sock.noGSO.Load() {
			s.pushFlush(sock, m, m.Data, m.Seg, res)
			continue
		}
		for b := m.Data; len(b) > 0; b = b[min(m.Seg, len(b)):] {
			s.pushFlush(sock, m, b[:min(m.Seg, len(b))], 0, res)
		}
	}
	s.flush(sock, res)
}

func (s *sender) pushFlush(sock *socket, m *Message, b []byte, seg int, res *Result) {
	if s.n == sendBatch {
		s.flush(sock, res)
	}
	s.push(sock, m, b, seg)
}

// push fills the next slot with b, a part of m's data.
func (s *sender) push(sock *socket, m *Message, b []byte, seg int) {
	i := s.n
	s.n++
	s.iov[i].Base = &b[0]
	s.iov[i].SetLen(len(b))
	if seg >= len(b) {
		seg = 0
	}
	s.train[i] = seg
	h := &s.msgs[i].hdr
	*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&s.names[i])), Iov: &s.iov[i], Iovlen: 1}
	port := m.Remote.Port()
	if !sock.udp {
		port = 0
	}
	h.Namelen = putAddr(&s.names[i], sock.v6, m.Remote.Addr(), port)
	if m.Whole {
		return // the packet says all that control messages could
	}
	if n := putControl(s.ctl[i][:], sock.v6, m.Local, m.TOS, seg); n > 0 {
		h.Control = &s.ctl[i][0]
		h.SetControllen(n)
	}
}

// flush sends what push collected. A message that fails is tried once more,
// since the error may be a pending ICMP report and not its own; a train that
// the kernel refuses is sent packet by packet.
func (s *sender) flush(sock *socket, res *Result) {
	defer func() { s.n, s.sent = 0, 0 }()
	tries := 0
	for s.sent < s.n {
		if sock.raw.Write(s.fn) != nil { // closed
			res.Failed += s.n - s.sent
			return
		}
		switch {
		case s.errno == 0:
			tries = 0
			continue
		case s.train[s.sent] > 0 && (s.errno == unix.EIO || s.errno == unix.EINVAL || s.errno == unix.EMSGSIZE):
			if s.errno == unix.EIO { // the device cannot sum checksums: no trains ever
				sock.noGSO.Store(true)
			}
			s.explode(sock, res)
			tries = 0
			continue
		}
		if tries++; tries < 2 && transient(s.errno) {
			s.h.drainErrors(sock)
			continue
		}
		if s.errno == unix.EMSGSIZE {
			res.TooBig++
		} else {
			res.Failed++
		}
		s.sent++
		tries = 0
	}
}

// transient errors may be reports about earlier messages.
func transient(e syscall.Errno) bool {
	switch e {
	case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EMSGSIZE, unix.EPROTO, unix.EACCES, unix.ENOPROTOOPT, unix.EOPNOTSUPP:
		return true
	}
	return false
}

func (s *sender) trySend(fd uintptr) bool {
	for {
		n, _, e := syscall.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&s.msgs[s.sent])), uintptr(s.n-s.sent), unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		case 0:
			s.sent += int(n)
		}
		s.errno = e
		return true
	}
}

// explode sends the train at s.sent as single packets.
func (s *sender) explode(sock *socket, res *Result) {
	i := s.sent
	s.sent++
	rest := unsafe.Slice(s.iov[i].Base, s.iov[i].Len)
	h := s.msgs[i].hdr
	h.Control = nil
	h.SetControllen(0)
	if n := dropSegment(s.ctl[i][:s.msgs[i].hdr.Controllen]); n > 0 {
		h.Control = &s.ctl[i][0]
		h.SetControllen(n)
	}
	for len(rest) > 0 {
		p := rest[:min(s.train[i], len(rest))]
		rest = rest[len(p):]
		switch s.sendOne(sock, h, p) {
		case 0:
		case unix.EMSGSIZE:
			res.TooBig++
		default:
			res.Failed++
		}
	}
}

// sendOne is the slow path of explode.
func (s *sender) sendOne(sock *socket, h unix.Msghdr, p []byte) (e syscall.Errno) {
	iov := unix.Iovec{Base: &p[0]}
	iov.SetLen(len(p))
	h.Iov = &iov
	for range 2 {
		err := sock.raw.Write(func(fd uintptr) bool {
			_, _, e = syscall.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&h)), unix.MSG_DONTWAIT)
			return e != unix.EAGAIN
		})
		if err != nil {
			return unix.EBADF
		}
		if !transient(e) && e != unix.EINTR {
			return e
		}
		s.h.drainErrors(sock)
	}
	return e
}

func packets(msgs []Message) (n int) {
	for i := range msgs {
		n += (len(msgs[i].Data) + msgs[i].Seg - 1) / max(msgs[i].Seg, 1)
	}
	return n
}

func putAddr(sa *unix.RawSockaddrInet6, v6 bool, a netip.Addr, port uint16) uint32 {
	*sa = unix.RawSockaddrInet6{}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], port)
	if v6 {
		sa.Family = unix.AF_INET6
		sa.Addr = a.As16()
		return unix.SizeofSockaddrInet6
	}
	sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
	sa4.Family = unix.AF_INET
	sa4.Addr = a.As4()
	return unix.SizeofSockaddrInet4
}
