package underlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cygnet/internal/ipsec"
)

// ends name a TCP connection. The port of one that we open is wished for, and
// given if nobody has it.
type ends struct{ local, remote netip.AddrPort }

// streams are the TCP connections of a Host, RFC 9329.
type streams struct {
	h *Host

	mu        sync.RWMutex
	table     map[ends]*stream
	accepted  map[netip.Addr]int // of table, those that others opened, by host
	others    []*stream          // the same, oldest first
	listeners []net.Listener
	closed    bool

	wait sync.WaitGroup
	esp  chan Arrival
	done chan struct{}
}

func newStreams(h *Host) *streams {
	return &streams{h: h, table: make(map[ends]*stream), accepted: make(map[netip.Addr]int),
		esp: make(chan Arrival, arrivalQueue), done: make(chan struct{})}
}

// to returns the stream from local to remote, nil where there is none.
func (s *streams) to(local, remote netip.AddrPort) *stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.table[ends{local, remote}]
}

// add puts st into the table, or says why not. Where others have opened all
// there may be, the oldest on which no IKE SA stands makes room.
func (s *streams) add(st *stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := ipsec.HostOf(st.remote.Addr())
	switch {
	case s.closed:
		return os.ErrClosed
	case s.table[st.ends()] != nil:
		return os.ErrExist
	case !st.ours && s.accepted[from] >= maxStreamsFrom, !st.ours && len(s.others) >= maxStreams && !s.evict():
		return errors.New("too many connections")
	}
	if !st.ours {
		s.others = append(s.others, st)
		s.accepted[from]++
	}
	s.table[st.ends()] = st
	s.wait.Add(1)
	return nil
}

// evict ends the oldest stream of a stranger.
func (s *streams) evict() bool {
	for _, st := range s.others {
		if !st.confirmed() {
			st.end()
			s.drop(st)
			return true
		}
	}
	return false
}

// drop takes st out of the table, under mu.
func (s *streams) drop(st *stream) {
	if s.table[st.ends()] != st {
		return
	}
	delete(s.table, st.ends())
	if st.ours {
		return
	}
	s.others = slices.DeleteFunc(s.others, func(o *stream) bool { return o == st })
	from := ipsec.HostOf(st.remote.Addr())
	if s.accepted[from]--; s.accepted[from] == 0 {
		delete(s.accepted, from)
	}
}

// remove is for who added st, after st.end. What still waits in it is lost.
func (s *streams) remove(st *stream) {
	s.mu.Lock()
	s.drop(st)
	s.mu.Unlock()
	s.h.drops.stream.Add(uint64(len(st.out))) // what nobody sends any more
	s.wait.Done()
}

// control prepares a TCP socket: it is bound to the device, as the others are,
// and what the peer does not acknowledge in time ends it.
func (s *streams) control(_, _ string, c syscall.RawConn) (err error) {
	cerr := c.Control(func(fd uintptr) {
		if s.h.o.Device != "" {
			err = unix.BindToDevice(int(fd), s.h.o.Device)
		}
		err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(streamWriteTime/time.Millisecond)))
	})
	return errors.Join(cerr, err)
}

// listen accepts streams on the NAT traversal port of one family.
func (s *streams) listen(v6 bool, addr netip.Addr) error {
	network, any := "tcp4", netip.IPv4Unspecified()
	if v6 {
		network, any = "tcp6", netip.IPv6Unspecified()
	}
	if !addr.IsValid() {
		addr = any
	}
	lc := net.ListenConfig{Control: s.control}
	l, err := lc.Listen(context.Background(), network, netip.AddrPortFrom(addr, s.h.o.NATTPort).String())
	if err != nil {
		return fmt.Errorf("listen for TCP: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = append(s.listeners, l)
	s.wait.Go(func() { s.accept(l) })
	return nil
}

func (s *streams) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptors, or no memory: there may be some later
			s.h.drops.stream.Add(1)
			time.Sleep(acceptPause)
			continue
		}
		st := newStream(end(c.LocalAddr()), end(c.RemoteAddr()), c)
		if s.add(st) != nil {
			s.h.drops.stream.Add(1)
			c.Close()
			continue
		}
		go s.serve(st)
	}
}

func end(a net.Addr) netip.AddrPort {
	p := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// serve carries an open stream until it ends. Whoever uses one of ours is told
// of its end, if an IKE SA stood on it: others would make us knock for ever.
func (s *streams) serve(st *stream) {
	defer s.remove(st)
	var w sync.WaitGroup
	w.Go(st.write)
	st.read(func(msg []byte) { s.take(st, msg) })
	w.Wait()
	if st.ours && st.confirmed() {
		s.mu.Lock()
		s.drop(st) // before it is said, so that the answer opens another
		s.mu.Unlock()
		s.h.deliver(Datagram{Local: st.local, Remote: st.remote, Stream: true})
	}
}

// take sorts one message of a stream. It never blocks: a peer that sends more
// than is taken loses packets, and holds up no other.
func (s *streams) take(st *stream, msg []byte) {
	switch k := classify(msg); {
	case k == kindIKE && len(msg) > markerLen:
		s.h.deliver(Datagram{Local: st.local, Remote: st.remote, Msg: append([]byte(nil), msg[markerLen:]...), Stream: true})
	case k == kindIKE:
		s.h.drops.ikeMarker.Add(1)
	case k == kindKeepalive:
		s.h.drops.keepalive.Add(1)
	case k == kindShort:
		s.h.drops.short.Add(1)
	default:
		a := Arrival{Proto: ipsec.ESP, Encap: true, Stream: true, Remote: st.remote, Local: st.local.Addr(),
			Data: append([]byte(nil), msg...), Seg: len(msg)}
		select {
		case s.esp <- a:
		default:
			s.h.drops.stream.Add(1)
		}
	}
}

// dial opens a stream unless there is one, and returns at once. Messages wait
// in it meanwhile.
func (s *streams) dial(local, remote netip.AddrPort) error {
	st := newStream(local, remote, nil)
	if err := s.add(st); errors.Is(err, os.ErrExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("open TCP to %s: %w", remote, err)
	}
	go func() {
		c, err := s.connect(st)
		if err != nil || !st.opened(c) {
			s.h.drops.stream.Add(1)
			if c != nil {
				c.Close()
			}
			st.end()
			s.remove(st)
			return
		}
		s.serve(st)
	}()
	return nil
}

// connect opens the connection.
func (s *streams) connect(st *stream) (c net.Conn, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	go func() {
		select {
		case <-st.gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	for _, port := range []uint16{st.local.Port(), 0} {
		d := net.Dialer{Control: s.control, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(st.local.Addr(), port))}
		err = s.h.place.do(func() (err error) {
			c, err = d.DialContext(ctx, "tcp", st.remote.String())
			return err
		})
		if !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			break
		}
	}
	return c, err
}

// close ends all streams and waits for their goroutines.
func (s *streams) close() {
	s.mu.Lock()
	s.closed = true
	for _, l := range s.listeners {
		l.Close()
	}
	for _, st := range s.table {
		st.end()
	}
	s.mu.Unlock()
	s.wait.Wait()
	close(s.done)
}

// streamReceiver is the Receiver of all streams.
type streamReceiver struct {
	s   *streams
	out [1]Arrival
}

// Read implements Receiver.
func (r *streamReceiver) Read() ([]Arrival, error) {
	select {
	case r.out[0] = <-r.s.esp:
		return r.out[:], nil
	case <-r.s.done:
		return nil, os.ErrClosed
	}
}

// SendStream implements Underlay.
func (h *Host) SendStream(local, remote netip.AddrPort, msg []byte) error {
	st := h.streams.to(local, remote)
	if st == nil {
		return fmt.Errorf("send %d octets to %s by TCP: %w", len(msg), remote, errNoStream)
	}
	if !st.send(make([]byte, markerLen), msg) {
		return fmt.Errorf("send %d octets to %s by TCP: %w", len(msg), remote, errStreamFull)
	}
	return nil
}

// DialTCP implements Underlay.
func (h *Host) DialTCP(local, remote netip.AddrPort) error { return h.streams.dial(local, remote) }

// ConfirmTCP implements Underlay.
func (h *Host) ConfirmTCP(local, remote netip.AddrPort) {
	if st := h.streams.to(local, remote); st != nil {
		st.confirm()
	}
}

// HangUpTCP implements Underlay.
func (h *Host) HangUpTCP(local, remote netip.AddrPort) {
	if st := h.streams.to(local, remote); st != nil {
		st.hangUp()
	}
}
