package klips

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// Options are the settings of a Plane. The zero value is FreeS/WAN's default.
type Options struct {
	Rand io.Reader // of SPIs and IV seeds; nil: crypto/rand

	// TooBig says what happens to inner IPv4 packets with DF that do not fit.
	TooBig TooBigMode
	// ClampMSS lowers the MSS of TCP connections to what fits the tunnel.
	ClampMSS bool
	// NoPadding keeps ESP packets as short as they can be. Otherwise a busy
	// worker pads those of a batch to equal lengths, by 255 octets at most,
	// which the kernel then takes as one.
	NoPadding bool
	// CopyTOS copies the inner TOS to the outer header (hidetos=no). ECN then
	// follows RFC 6040; otherwise it is hidden as well.
	CopyTOS bool
}

// TooBigMode is ipsec.conf's fragicmp.
type TooBigMode uint8

// The modes (freeswan.md 5.8, M2 and M6). IPv6 is always Strict.
const (
	NotifyAndSend TooBigMode = iota // yes: ICMP to the sender, and send in outer fragments
	SendOnly                        // no: outer fragments only
	Strict                          // ICMP to the sender, and drop
)

// Interface is a virtual device attached to a physical one (tncfg).
type Interface struct {
	Virtual, Physical string
	TUN               tun.Device
	Underlay          underlay.Underlay
	Addrs             []netip.Addr // our own addresses there
}

// Plane is the data plane. All methods are safe for concurrent use.
type Plane struct {
	o      Options
	spd    atomic.Pointer[snapshot]
	own    atomic.Pointer[[]netip.Addr] // of all devices
	sad    sad
	holds  holds
	strays strays
	events *events
	drops  drops
	ids    atomic.Uint32 // of IP packets that we make

	mu      sync.Mutex // of everything below, and of changes to spd and sad
	records map[ipsec.SAID]*record
	newest  map[series]*outSA // added last of a series, for outSA.inherit
	retired []*entry          // of SPDs before; workers may be at them
	nextTun ipsec.SPI
	nextCPI ipsec.SPI     // 0: none has been given yet
	heard   []ipsec.Proto // what devices Listen to
	devices []*device
	closed  bool
	stop    chan struct{}
	ended   sync.WaitGroup
}

// New returns a Plane without devices, SAs and policies.
func New(o Options) *Plane {
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	p := &Plane{o: o, events: newEvents(), records: map[ipsec.SAID]*record{}, newest: map[series]*outSA{}, nextTun: ipsec.FirstTunSPI, stop: make(chan struct{})}
	p.sad.init()
	p.holds.table = map[holdKey]*hold{}
	p.spd.Store(&snapshot{version: 1})
	p.setOwn()
	p.ended.Add(1)
	go p.housekeeping()
	return p
}

// device is an attached Interface with its workers.
type device struct {
	Interface
	mtu      atomic.Int64 // of the physical device
	workers  sync.WaitGroup
	injectMu sync.Mutex
	inject   *egress // sends held packets; made at the first one
}

var errClosed = errors.New("data plane is closed")

// Attach starts the workers of i. From here on the Plane reads i.TUN and the
// receivers of i.Underlay, and closes both in Detach; IKE stays the caller's.
func (p *Plane) Attach(i Interface) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("attach %s: %w", i.Virtual, errClosed)
	}
	for _, d := range p.devices {
		if d.Virtual == i.Virtual {
			return fmt.Errorf("attach %s: it is attached to %s already", i.Virtual, d.Physical)
		}
	}
	d := &device{Interface: i}
	d.mtu.Store(int64(i.Underlay.MTU()))
	i.Underlay.NotifyTooBig(p.tooBig)
	p.devices = append(slices.Clip(p.devices), d)
	p.setOwn()
	for n, q := range i.TUN.Queues() {
		w := newEgress(p, d, q, n)
		d.workers.Go(w.run)
	}
	d.receive(p, i.Underlay.Receivers())
	for _, proto := range p.heard {
		if err := d.listen(p, proto); err != nil {
			return fmt.Errorf("attach %s: %w", i.Virtual, err)
		}
	}
	return nil
}

// receive starts a worker for each of list.
func (d *device) receive(p *Plane, list []underlay.Receiver) {
	queues := d.TUN.Queues()
	for n, rx := range list {
		w := newIngress(p, d, rx, queues[n%len(queues)])
		d.workers.Go(w.run)
	}
}

func (d *device) listen(p *Plane, proto ipsec.Proto) error {
	list, err := d.Underlay.Listen(proto)
	if err != nil {
		return err
	}
	d.receive(p, list)
	return nil
}

// listen makes all devices hear what an inbound SA needs; p.mu is held.
// Nothing is heard before, since what we hear the system does not reject.
func (p *Plane) listen(sa *inSA) error {
	for _, proto := range sa.outside() {
		if slices.Contains(p.heard, proto) {
			continue
		}
		for _, d := range p.devices {
			if err := d.listen(p, proto); err != nil {
				return err
			}
		}
		p.heard = append(p.heard, proto)
	}
	return nil
}

// Detach stops the workers of the virtual device and closes its TUN and
// underlay.
func (p *Plane) Detach(virtual string) error {
	p.mu.Lock()
	n := slices.IndexFunc(p.devices, func(d *device) bool { return d.Virtual == virtual })
	if n < 0 {
		p.mu.Unlock()
		return fmt.Errorf("detach %s: not attached", virtual)
	}
	d := p.devices[n]
	p.devices = slices.Delete(slices.Clone(p.devices), n, n+1)
	p.setOwn()
	p.mu.Unlock()
	return d.close()
}

func (d *device) close() error {
	err := errors.Join(d.Underlay.Close(), d.TUN.Close())
	d.workers.Wait()
	return err
}

// Events implements ipsec.Backend.
func (p *Plane) Events() <-chan ipsec.Event { return p.events.out }

// Close detaches all devices, stops everything and closes Events.
func (p *Plane) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	devices := p.devices
	p.devices = nil
	p.mu.Unlock()
	close(p.stop)
	var errs []error
	for _, d := range devices {
		errs = append(errs, d.close())
	}
	p.ended.Wait()
	p.events.close()
	return errors.Join(errs...)
}

// exempt is the policy of our own IKE packets.
var exempt = &entry{policy: ipsec.Policy{Action: ipsec.Pass}}

// lookup finds the policy of k. Packets of IKE from our own addresses pass in
// clear unless they are meant to travel inside a tunnel to somebody else
// (freeswan.md 5.6, step 2). Our own daemon's never come here, since its
// sockets are bound to the physical device.
func (p *Plane) lookup(s *snapshot, k *key) *entry {
	f := k.flow()
	e := s.lookup(f)
	if f.Proto != protoUDP || f.SrcPort != portIKE && f.SrcPort != portNATT || !slices.Contains(*p.own.Load(), f.Src) {
		return e
	}
	if e == nil || e.policy.Action != ipsec.Protect || e.policy.Bundle[len(e.policy.Bundle)-1].Dst == f.Dst {
		return exempt
	}
	return e
}

// setOwn collects our own addresses; p.mu is held.
func (p *Plane) setOwn() {
	own := []netip.Addr{}
	for _, d := range p.devices {
		own = append(own, d.Addrs...)
	}
	p.own.Store(&own)
}

// now is the clock of everything that is not per packet.
func now() time.Time { return time.Now() }
