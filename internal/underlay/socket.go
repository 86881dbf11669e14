package underlay

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"cygnet/internal/ipsec"
)

// socket is one descriptor in the runtime's poller.
type socket struct {
	file  *os.File
	raw   syscall.RawConn
	v6    bool
	udp   bool
	proto ipsec.Proto // of raw sockets

	number uint8 // the IP protocol: of proto, or 41 where IPv6 is in IP

	// mu serialises sends with changes of the socket's DF mode, which is an
	// option of the socket and not of a message.
	mu    sync.Mutex
	df    bool
	noGSO atomic.Bool
}

// spec is what open needs to know of a socket.
type spec struct {
	v6     bool
	typ    int // SOCK_DGRAM or SOCK_RAW
	proto  int
	addr   netip.Addr // invalid: any
	port   uint16
	device string
	reuse  bool // several sockets share the port
	gro    bool
}

func open(p spec) (*socket, error) {
	fam := unix.AF_INET
	if p.v6 {
		fam = unix.AF_INET6
	}
	fd, err := unix.Socket(fam, p.typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, p.proto)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	s := &socket{v6: p.v6, udp: p.typ == unix.SOCK_DGRAM, proto: ipsec.Proto(p.proto), number: uint8(p.proto)}
	if p.proto == unix.IPPROTO_IPV6 {
		s.proto = ipsec.Tun
	}
	if err := s.configure(fd, p); err != nil {
		unix.Close(fd)
		return nil, err
	}
	s.file = os.NewFile(uintptr(fd), "socket")
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket) configure(fd int, p spec) error {
	if p.device != "" {
		// Before bind, so that two gateways on two devices may hold one port,
		// and so that no route through a tunnel device catches our packets.
		if err := unix.BindToDevice(fd, p.device); err != nil {
			return fmt.Errorf("bind to device %s: %w", p.device, err)
		}
	}
	if p.reuse {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return fmt.Errorf("SO_REUSEPORT: %w", err)
		}
	}
	if err := s.options(fd); err != nil {
		return err
	}
	if err := unix.Bind(fd, sockaddr(p.v6, p.addr, p.port)); err != nil {
		return fmt.Errorf("bind to %s: %w", netip.AddrPortFrom(p.addr, p.port), err)
	}
	if p.gro {
		// Kernels before 5.0 lack it; then datagrams come one by one.
		_ = unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1)
	}
	buffers(fd)
	return nil
}

// options sets what every socket has: destination address and TOS with each
// arrival, ICMP reports in the error queue, and no DF until a message asks.
func (s *socket) options(fd int) error {
	level, opts := unix.SOL_IP, [][2]int{
		{unix.IP_PKTINFO, 1}, {unix.IP_RECVTOS, 1}, {unix.IP_RECVERR, 1},
		{unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT}, {unix.IP_TTL, ttl},
	}
	if s.v6 {
		level, opts = unix.SOL_IPV6, [][2]int{
			{unix.IPV6_RECVPKTINFO, 1}, {unix.IPV6_RECVTCLASS, 1}, {unix.IPV6_RECVERR, 1},
			{unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT}, {unix.IPV6_UNICAST_HOPS, ttl},
		}
		if s.udp { // raw sockets are of one family anyway
			opts = append(opts, [2]int{unix.IPV6_V6ONLY, 1})
		}
	}
	for _, o := range opts {
		if err := unix.SetsockoptInt(fd, level, o[0], o[1]); err != nil {
			return fmt.Errorf("socket option %d of level %d: %w", o[0], level, err)
		}
	}
	return nil
}

// buffers asks for large buffers, with force where the process may.
func buffers(fd int) {
	for _, o := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[0], socketBuffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[1], socketBuffer)
		}
	}
}

// setDF switches the don't-fragment mode; the caller holds mu. With DF the
// mode is PROBE: the kernel then ignores its own path MTU cache, which any
// forged ICMP message can lower, and leaves path MTU to us.
func (s *socket) setDF(df bool) error {
	if s.df == df {
		return nil
	}
	mode, level, opt := unix.IP_PMTUDISC_DONT, unix.SOL_IP, unix.IP_MTU_DISCOVER
	if df {
		mode = unix.IP_PMTUDISC_PROBE
	}
	if s.v6 {
		level, opt = unix.SOL_IPV6, unix.IPV6_MTU_DISCOVER
	}
	var err error
	cerr := s.raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, opt, mode) })
	if err := errors.Join(cerr, err); err != nil {
		return err
	}
	s.df = df
	return nil
}

// discover is called before a message with DF. The first one puts all sockets
// into that mode: the kernel hands a report about one socket's packet to any
// socket of the same port, which throws it away unless it is in that mode too.
func (h *Host) discover() {
	if h.probing.Load() || !h.probing.CompareAndSwap(false, true) {
		return
	}
	for f := range h.natt {
		for _, list := range [][]*socket{h.natt[f], h.raw[f]} {
			for _, s := range list {
				s.mu.Lock()
				h.rest(s)
				s.mu.Unlock()
			}
		}
	}
}

// rest puts s back into the mode in which it waits for reports, once there may
// be some; the caller holds s.mu.
func (h *Host) rest(s *socket) {
	if h.probing.Load() {
		_ = s.setDF(true)
	}
}

// steer makes the group of sockets that share a port choose by SPI, so that
// an SA stays on one worker; SPI 0, which is IKE, goes to socket 0.
func (s *socket) steer(n int) error {
	prog := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the SPI; shorter datagrams go to 0
		{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: uint32(n)},
		{Code: unix.BPF_RET | unix.BPF_A},
	}
	var err error
	cerr := s.raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
			&unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]})
	})
	return errors.Join(cerr, err)
}

func sockaddr(v6 bool, a netip.Addr, port uint16) unix.Sockaddr {
	if v6 {
		sa := &unix.SockaddrInet6{Port: int(port)}
		if a.IsValid() {
			sa.Addr = a.As16()
		}
		return sa
	}
	sa := &unix.SockaddrInet4{Port: int(port)}
	if a.IsValid() {
		sa.Addr = a.As4()
	}
	return sa
}
