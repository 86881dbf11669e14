package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Times of the client, RFC 2131 section 4.1: the wait doubles.
const (
	firstWait = 1 * time.Second
	mostWait  = 8 * time.Second
	mostBytes = 1500 // of a message
)

// listen opens a UDP socket on one device, or on any if that is empty.
func listen(ctx context.Context, device string, local netip.AddrPort) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) {
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
			if device != "" {
				err = errors.Join(err, unix.BindToDevice(int(fd), device))
			}
		}); e != nil {
			return e
		}
		return err
	}}
	c, err := lc.ListenPacket(ctx, "udp4", local.String())
	if err != nil {
		return nil, fmt.Errorf("listen for DHCP on %s: %w", local, err)
	}
	return c.(*net.UDPConn), nil
}

// Obtain runs a session through a tunnel device until the server has granted an
// address or ctx ends. local is our address outside, which the DHCP SA is for.
func Obtain(ctx context.Context, device string, local netip.Addr, s *Session) (*Lease, error) {
	c, err := listen(ctx, device, netip.AddrPortFrom(local, ClientPort))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	everybody := netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), ServerPort)
	buf := make([]byte, mostBytes)
	for wait := firstWait; ctx.Err() == nil; wait = min(2*wait, mostWait) {
		if _, err := c.WriteToUDPAddrPort(s.Message(), everybody); err != nil {
			return nil, fmt.Errorf("send a DHCP message: %w", err)
		}
		lease, err := hear(ctx, c, s, buf, wait)
		if lease != nil || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return lease, err
		}
	}
	return nil, errors.New("no DHCP server answers in the tunnel")
}

// hear reads until the session has its lease, or a wait is over. What makes the
// session go on is answered at once.
func hear(ctx context.Context, c *net.UDPConn, s *Session, buf []byte, wait time.Duration) (*Lease, error) {
	c.SetReadDeadline(time.Now().Add(wait))
	for ctx.Err() == nil {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return nil, err
		}
		if from.Port() != ServerPort {
			continue
		}
		before := string(s.Message())
		lease, err := s.Answer(buf[:n])
		if lease != nil || err != nil {
			return lease, err
		}
		if string(s.Message()) != before {
			return nil, nil // the next message is due now
		}
	}
	return nil, ctx.Err()
}

// Relay passes messages between clients in the tunnels of one device and the
// servers of our network. Close ends it.
type Relay struct {
	inside, outside *net.UDPConn // toward the clients, toward the servers
	servers         []netip.AddrPort
	giaddr          netip.Addr
	note            func(text string)
	wg              sync.WaitGroup

	mu      sync.Mutex
	pending Pending
	losses  losses
}

// NewRelay begins to relay between a tunnel device and servers. note gets lines
// for the log.
func NewRelay(device string, servers []netip.Addr, note func(string)) (*Relay, error) {
	r := &Relay{note: note}
	for _, a := range servers {
		r.servers = append(r.servers, netip.AddrPortFrom(a, ServerPort))
	}
	var err error
	if r.giaddr, err = sourceTo(r.servers[0]); err != nil {
		return nil, err
	}
	if r.inside, err = listen(context.Background(), device, netip.AddrPortFrom(netip.IPv4Unspecified(), ServerPort)); err != nil {
		return nil, err
	}
	if r.outside, err = listen(context.Background(), "", netip.AddrPortFrom(r.giaddr, ServerPort)); err != nil {
		r.inside.Close()
		return nil, err
	}
	r.wg.Go(func() { r.serve(r.inside, r.request) })
	r.wg.Go(func() { r.serve(r.outside, r.answer) })
	note(fmt.Sprintf("relaying DHCP between %s and %s", device, r.servers[0].Addr()))
	return r, nil
}

// sourceTo is our address on the way to a server: it is in the network that the
// server shall take an address from.
func sourceTo(server netip.AddrPort) (netip.Addr, error) {
	c, err := net.Dial("udp4", server.String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the way to DHCP server %s: %w", server.Addr(), err)
	}
	defer c.Close()
	a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	return a, nil
}

func (r *Relay) serve(c *net.UDPConn, handle func(from netip.AddrPort, b []byte)) {
	buf := make([]byte, mostBytes)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error about what was sent before
		}
		handle(netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), buf[:n])
	}
}

func (r *Relay) request(from netip.AddrPort, b []byte) {
	r.mu.Lock()
	out := r.pending.Request(time.Now(), from, b, r.giaddr)
	r.mu.Unlock()
	if out == nil {
		return
	}
	for _, s := range r.servers {
		if _, err := r.outside.WriteToUDPAddrPort(out, s); err != nil {
			r.complain(s.Addr(), err)
		}
	}
}

func (r *Relay) answer(from netip.AddrPort, b []byte) {
	known := false
	for _, s := range r.servers {
		known = known || s == from
	}
	if !known {
		return
	}
	r.mu.Lock()
	client, out, ok := r.pending.Answer(time.Now(), b)
	r.mu.Unlock()
	if !ok {
		return
	}
	if _, err := r.inside.WriteToUDPAddrPort(out, client); err != nil {
		r.complain(client.Addr(), err)
	}
}

// complain tells of a message that could not be relayed.
func (r *Relay) complain(to netip.Addr, err error) {
	r.mu.Lock()
	text, ok := r.losses.line(time.Now(), fmt.Sprintf("relay DHCP to %s: %v", to, err))
	r.mu.Unlock()
	if ok {
		r.note(text)
	}
}

// Close ends the relay and waits for it.
func (r *Relay) Close() {
	r.inside.Close()
	r.outside.Close()
	r.wg.Wait()
}
