package underlay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cygnet/internal/ipsec"
)

// Options say which sockets to open.
type Options struct {
	// Device is the physical device that all sockets are bound to.
	Device string
	// Addrs, at most one per family, are what sockets are bound to; a family
	// without an address gets no socket. Empty: any address, both families.
	Addrs []netip.Addr

	IKEPort, NATTPort uint16 // 0 means 500 and 4500
	Queues            int    // sockets of the NAT traversal port; 0 means 1
	NoRaw             bool   // no raw sockets: neither raw ESP, AH nor clear packets
	NoUDP             bool   // no UDP sockets: neither IKE nor ESP in UDP
	ListenTCP         bool   // the NAT traversal port of TCP too
}

// Host is the Underlay of real sockets.
type Host struct {
	o         Options
	ike, natt [2][]*socket // by family: IPv4, IPv6
	raw       [2][]*socket // ESP, AH
	clear     [2]*socket

	listenMu sync.Mutex
	listened []*socket // by Listen, under listenMu
	place    namespace // of all sockets

	streams *streams

	receivers []Receiver
	ikeCh     chan Datagram
	ikeWait   sync.WaitGroup // goroutines that send into ikeCh
	reading   sync.RWMutex   // held for reading by whoever sends into ikeCh
	closed    bool           // under reading

	ikeMu  sync.Mutex
	ikeOut *sender // under ikeMu

	device  string      // whose MTU counts
	probing atomic.Bool // a message with DF has been sent
	tooBig  atomic.Pointer[func(TooBig)]
	drops   counters
}

// Open opens the sockets. IPv6 is left out where the kernel has none.
func Open(o Options) (*Host, error) {
	if o.IKEPort == 0 {
		o.IKEPort = 500
	}
	if o.NATTPort == 0 {
		o.NATTPort = 4500
	}
	o.Queues = max(o.Queues, 1)
	h := &Host{o: o, ikeCh: make(chan Datagram, ikeQueue), device: o.Device}
	h.ikeOut = h.newSender(0)
	h.streams = newStreams(h)
	h.place = currentNamespace()
	if h.device == "" {
		h.device = deviceOf(o.Addrs)
	}
	for f, v6 := range []bool{false, true} {
		addr, want := address(o.Addrs, v6)
		if !want {
			continue
		}
		err := h.openFamily(f, v6, addr)
		if v6 && len(o.Addrs) == 0 && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
			continue
		}
		if err != nil {
			h.Close()
			return nil, err
		}
	}
	h.start()
	return h, nil
}

// address picks the address of a family; want is false when addrs excludes it.
func address(addrs []netip.Addr, v6 bool) (a netip.Addr, want bool) {
	for _, a := range addrs {
		if a.Is6() == v6 {
			return a, true
		}
	}
	return netip.Addr{}, len(addrs) == 0
}

func (h *Host) base(v6 bool, addr netip.Addr) spec {
	return spec{v6: v6, addr: addr, device: h.o.Device}
}

func (h *Host) openFamily(f int, v6 bool, addr netip.Addr) error {
	base := h.base(v6, addr)
	add := func(list *[]*socket, what string, change func(*spec)) error {
		p := base
		change(&p)
		s, err := open(p)
		if err != nil {
			return fmt.Errorf("open %s socket: %w", what, err)
		}
		*list = append(*list, s)
		return nil
	}
	var err error
	if !h.o.NoUDP {
		err = add(&h.ike[f], "IKE", func(p *spec) { p.typ, p.port = unix.SOCK_DGRAM, h.o.IKEPort })
	}
	for i := 0; i < h.o.Queues && err == nil && !h.o.NoUDP; i++ {
		err = add(&h.natt[f], "NAT traversal", func(p *spec) {
			p.typ, p.port, p.reuse, p.gro = unix.SOCK_DGRAM, h.o.NATTPort, h.o.Queues > 1, true
		})
	}
	if err == nil && h.o.Queues > 1 && !h.o.NoUDP {
		if err = h.natt[f][0].steer(h.o.Queues); err != nil {
			err = fmt.Errorf("steer by SPI: %w", err)
		}
	}
	if err == nil && h.o.ListenTCP {
		err = h.streams.listen(v6, addr)
	}
	if err != nil || h.o.NoRaw {
		return err
	}
	for _, proto := range []ipsec.Proto{ipsec.ESP, ipsec.AH} {
		if err := add(&h.raw[f], proto.String(), func(p *spec) { p.typ, p.proto = unix.SOCK_RAW, int(proto) }); err != nil {
			return err
		}
	}
	var clear []*socket
	// IPPROTO_RAW sends whole packets with their IP header and receives none.
	if err := add(&clear, "clear", func(p *spec) { p.typ, p.proto, p.addr = unix.SOCK_RAW, unix.IPPROTO_RAW, netip.Addr{} }); err != nil {
		return err
	}
	h.clear[f] = clear[0]
	return nil
}

func (h *Host) start() {
	for f := range h.natt {
		for _, s := range append(append([]*socket(nil), h.natt[f]...), h.raw[f]...) {
			h.receivers = append(h.receivers, newReceiver(h, s))
		}
		for _, s := range h.ike[f] {
			h.ikeWait.Add(1)
			go h.readIKE(newReceiver(h, s))
		}
	}
	h.receivers = append(h.receivers, &streamReceiver{s: h.streams})
}

// readIKE reads the IKE port until Close.
func (h *Host) readIKE(r *receiver) {
	defer h.ikeWait.Done()
	for {
		n, err := r.recv()
		if err != nil {
			return
		}
		for i := range n {
			// NAT keepalives may come here too from old peers.
			if a := r.arrival(i); len(a.Data) > 1 {
				h.deliverIKE(a.Local, h.o.IKEPort, a.Remote, a.Data)
			}
		}
	}
}

func (h *Host) deliverIKE(local netip.Addr, port uint16, remote netip.AddrPort, msg []byte) {
	h.deliver(Datagram{Local: netip.AddrPortFrom(local, port), Remote: remote, Msg: append([]byte(nil), msg...)})
}

func (h *Host) deliver(d Datagram) {
	h.reading.RLock()
	defer h.reading.RUnlock()
	if h.closed {
		return
	}
	select {
	case h.ikeCh <- d:
	default:
		h.drops.ikeFull.Add(1)
	}
}

// Receivers implements Underlay.
func (h *Host) Receivers() []Receiver { return h.receivers }

// IKE implements Underlay.
func (h *Host) IKE() <-chan Datagram { return h.ikeCh }

// Drops implements Underlay.
func (h *Host) Drops() []ipsec.Counter { return h.drops.list() }

// Listen implements Underlay.
func (h *Host) Listen(p ipsec.Proto) ([]Receiver, error) {
	numbers := map[ipsec.Proto][]int{ipsec.Comp: {unix.IPPROTO_COMP}, ipsec.Tun: {unix.IPPROTO_IPIP, unix.IPPROTO_IPV6}}[p]
	if len(numbers) == 0 || h.o.NoRaw {
		return nil, fmt.Errorf("listen for %s: %w", p, ipsec.ErrUnsupported)
	}
	h.listenMu.Lock()
	defer h.listenMu.Unlock()
	if slices.ContainsFunc(h.listened, func(s *socket) bool { return s.proto == p }) {
		return nil, nil
	}
	var fresh []*socket
	if err := h.place.do(func() (err error) { fresh, err = h.openRaw(numbers); return err }); err != nil {
		return nil, fmt.Errorf("listen for %s: %w", p, err)
	}
	h.listened = append(h.listened, fresh...)
	var out []Receiver
	for _, s := range fresh {
		out = append(out, newReceiver(h, s))
	}
	return out, nil
}

// openRaw opens raw sockets of IP protocols, of each family that has any.
func (h *Host) openRaw(numbers []int) (list []*socket, err error) {
	for f, v6 := range []bool{false, true} {
		addr, _ := address(h.o.Addrs, v6)
		for _, n := range numbers {
			if h.clear[f] == nil {
				continue
			}
			sp := h.base(v6, addr)
			sp.typ, sp.proto = unix.SOCK_RAW, n
			s, err := open(sp)
			if err != nil {
				closeAll(list)
				return nil, err
			}
			list = append(list, s)
		}
	}
	return list, nil
}

// NotifyTooBig implements Underlay.
func (h *Host) NotifyTooBig(f func(TooBig)) { h.tooBig.Store(&f) }

// MTU implements Underlay. It asks the kernel, so it follows changes; and by a
// socket of ours, so it asks in their network namespace.
func (h *Host) MTU() int {
	const usual = 1500
	ifr, err := unix.NewIfreq(h.device)
	if h.device == "" || err != nil {
		return usual
	}
	for f := range h.natt {
		sockets := append(h.natt[f][:len(h.natt[f]):len(h.natt[f])], h.raw[f]...)
		if len(sockets) == 0 {
			continue
		}
		cerr := sockets[0].raw.Control(func(fd uintptr) { err = unix.IoctlIfreq(int(fd), unix.SIOCGIFMTU, ifr) })
		if mtu := int(ifr.Uint32()); cerr == nil && err == nil && mtu >= 68 {
			return min(mtu, 65535)
		}
	}
	return usual
}

// deviceOf returns the device that holds one of addrs.
func deviceOf(addrs []netip.Addr) string {
	ifs, _ := net.Interfaces()
	for _, ifi := range ifs {
		list, _ := ifi.Addrs()
		for _, a := range list {
			p, err := netip.ParsePrefix(a.String())
			for _, want := range addrs {
				if err == nil && p.Addr().Unmap() == want {
					return ifi.Name
				}
			}
		}
	}
	return ""
}

// Close implements Underlay: it ends all Reads, then closes IKE.
func (h *Host) Close() error {
	h.reading.Lock()
	was := h.closed
	h.closed = true
	h.reading.Unlock()
	if was {
		return nil
	}
	h.streams.close()
	h.listenMu.Lock()
	errs := closeAll(h.listened)
	h.place.close()
	h.listenMu.Unlock()
	for f := range h.natt {
		for _, list := range [][]*socket{h.ike[f], h.natt[f], h.raw[f], {h.clear[f]}} {
			errs = append(errs, closeAll(list)...)
		}
	}
	h.ikeWait.Wait()
	close(h.ikeCh)
	return errors.Join(errs...)
}

func closeAll(list []*socket) (errs []error) {
	for _, s := range list {
		if s != nil {
			errs = append(errs, s.file.Close())
		}
	}
	return errs
}
