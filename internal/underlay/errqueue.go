package underlay

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"cygnet/internal/ipsec"
)

// drainErrors reads the error queue of s: ICMP reports about what we sent.
// Unreachable destinations are counted and change nothing, since anybody can
// forge them (RFC 7296 section 2.4); too-big reports go to the data plane,
// which believes them when the quoted SPI is its own.
//
// Each report also fails one system call on the socket, of whoever comes
// first: a receiver or a sender. So both drain the queue when a call fails.
func (h *Host) drainErrors(s *socket) {
	_ = s.raw.Control(func(fd uintptr) {
		var data [64]byte
		var ctl [512]byte
		var name unix.RawSockaddrInet6
		for {
			n, ctlLen, ok := recvError(int(fd), data[:], ctl[:], &name)
			if !ok {
				return
			}
			if e, ok := extendedError(ctl[:ctlLen]); ok {
				h.report(s, e, addrPort(&name).Addr(), data[:n])
			}
		}
	})
}

func recvError(fd int, data, ctl []byte, name *unix.RawSockaddrInet6) (n, ctlLen int, ok bool) {
	iov := unix.Iovec{Base: &data[0]}
	iov.SetLen(len(data))
	m := unix.Msghdr{Name: (*byte)(unsafe.Pointer(name)), Namelen: unix.SizeofSockaddrInet6, Iov: &iov, Iovlen: 1, Control: &ctl[0]}
	m.SetControllen(len(ctl))
	got, _, e := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m)), unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	return int(got), int(m.Controllen), e == 0
}

// extended is struct sock_extended_err of ip(7).
type extended struct {
	errno  unix.Errno
	origin uint8
	info   uint32 // for EMSGSIZE the MTU
}

func extendedError(b []byte) (e extended, ok bool) {
	for len(b) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			return e, false
		}
		is4 := h.Level == unix.SOL_IP && h.Type == unix.IP_RECVERR
		is6 := h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_RECVERR
		if (is4 || is6) && len(data) >= 16 {
			return extended{unix.Errno(binary.NativeEndian.Uint32(data)), data[4], binary.NativeEndian.Uint32(data[8:])}, true
		}
		b = rest
	}
	return e, false
}

func (h *Host) report(s *socket, e extended, remote netip.Addr, quoted []byte) {
	if e.origin != unix.SO_EE_ORIGIN_ICMP && e.origin != unix.SO_EE_ORIGIN_ICMP6 {
		return // our own kernel's; Send has seen it already
	}
	if e.errno != unix.EMSGSIZE {
		h.drops.icmp.Add(1)
		return
	}
	t := TooBig{Remote: remote, Proto: s.proto, MTU: int(e.info)}
	if s.udp {
		t.Proto = ipsec.ESP
	}
	at := 0
	if t.Proto == ipsec.AH {
		at = 4 // RFC 4302 section 2: the SPI is the second word
	}
	if len(quoted) < at+4 {
		return
	}
	t.SPI = ipsec.SPI(binary.BigEndian.Uint32(quoted[at:]))
	if f := h.tooBig.Load(); f != nil && t.SPI != 0 {
		(*f)(t)
	}
}
