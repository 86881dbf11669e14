package klips

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"cygnet/internal/esp"
	"cygnet/internal/ipsec"
)

// common is what both directions of an SA have.
type common struct {
	sa    ipsec.SA    // without keys
	print fingerprint // of the keys
	born  time.Time
	usage usage

	soft, hard atomic.Bool // limit reached and reported
}

// usage counts what an SA has carried. Workers add once per superpacket.
type usage struct {
	bytes, packets atomic.Uint64
	last           atomic.Int64 // Unix nanoseconds
}

func (u *usage) read() ipsec.Usage {
	r := ipsec.Usage{Bytes: u.bytes.Load(), Packets: u.packets.Load()}
	if t := u.last.Load(); t != 0 {
		r.LastUsed = time.Unix(0, t)
	}
	return r
}

// spend counts packets of together n octets and reports whether the SA may
// carry them. Limits are compared with what the additions return, so of two
// workers at a limit exactly one reports it.
func (c *common) spend(p *Plane, n, packets int) bool {
	if c.hard.Load() {
		return false
	}
	b, k := c.usage.bytes.Add(uint64(n)), c.usage.packets.Add(uint64(packets))
	l := &c.sa.Life
	if over(b, l.HardBytes) || over(k, l.HardPackets) {
		c.expire(p)
		return false
	}
	if (reached(b, l.SoftBytes) || reached(k, l.SoftPackets)) && c.soft.CompareAndSwap(false, true) {
		p.events.add(ipsec.Expire{ID: c.sa.ID})
	}
	return true
}

func over(n, limit uint64) bool    { return limit > 0 && n > limit }
func reached(n, limit uint64) bool { return limit > 0 && n >= limit }

// expire ends the SA's use and reports it, once.
func (c *common) expire(p *Plane) {
	if c.hard.CompareAndSwap(false, true) {
		p.events.add(ipsec.Expire{ID: c.sa.ID, Hard: true})
	}
}

// outSA is the sending end of an ESP SA.
type outSA struct {
	common
	esp    *esp.Out
	tunnel bool
	encap  bool
	remote netip.AddrPort // port 0 unless encap
	outer  int            // octets of outer IP and UDP headers

	path    atomic.Int64  // path MTU learned from ICMP; 0: none
	pathEnd atomic.Int64  // Unix nanoseconds, when it is forgotten
	fits    atomic.Uint64 // cache of room: outer MTU << 32 | octets
}

var errFamily = errors.New("source and destination are of two families")

func newOut(sa ipsec.SA, rand io.Reader, now time.Time) (*outSA, error) {
	seal, err := esp.NewOut(sa, rand)
	if err != nil {
		return nil, err
	}
	if !sa.Src.IsValid() || sa.Src.Is4() != sa.ID.Dst.Is4() {
		return nil, fmt.Errorf("outbound SA %s from %s: %w", sa.ID, sa.Src, errFamily)
	}
	o := &outSA{esp: seal, tunnel: sa.Mode == ipsec.Tunnel, encap: sa.Encap != ipsec.Encap{}}
	o.sa, o.born, o.print = withoutKeys(sa), now, fingerprintOf(&sa)
	o.outer = ipv4HeaderLen
	if sa.ID.Dst.Is6() {
		o.outer = ipv6HeaderLen
	}
	port := uint16(0)
	if o.encap {
		port = sa.Encap.RemotePort
		o.outer += udpHeaderLen
	}
	o.remote = netip.AddrPortFrom(sa.ID.Dst, port)
	return o, nil
}

// fingerprint recognises keys without keeping them.
type fingerprint [sha256.Size]byte

func fingerprintOf(sa *ipsec.SA) fingerprint {
	h := sha256.New()
	fmt.Fprint(h, sa.Transform, sa.EncrKey.Len())
	h.Write(sa.EncrKey.Bytes())
	h.Write(sa.IntegKey.Bytes())
	return fingerprint(h.Sum(nil))
}

// inherit makes o go on where old stopped, if both have the same SPI and keys:
// a peer that moved, or new limits. A counter that began again would repeat
// nonces (RFC 4106 section 3.1), and the peer would drop all of it as replay.
func (o *outSA) inherit(old *outSA) {
	if old != nil && old.sa.ID.SPI == o.sa.ID.SPI && old.print == o.print {
		o.esp = old.esp
	}
}

// inherit keeps the replay window of an SA that is installed once more.
func (i *inSA) inherit(old *inSA) {
	if old != nil && old.print == i.print && old.sa.Replay == i.sa.Replay {
		i.esp, i.mu = old.esp, old.mu
		i.used.Store(old.used.Load())
	}
}

func withoutKeys(sa ipsec.SA) ipsec.SA {
	sa.EncrKey, sa.IntegKey = ipsec.Secret{}, ipsec.Secret{}
	return sa
}

// pathMTU is the MTU of the outer packets, given the device's.
func (o *outSA) pathMTU(device int) int {
	if p := o.path.Load(); p != 0 {
		return min(device, int(p))
	}
	return device
}

// room is the largest inner packet that fits an outer packet of the path MTU.
func (o *outSA) room(device int) int {
	mtu := o.pathMTU(device)
	c := o.fits.Load()
	if int(c>>32) == mtu {
		return int(uint32(c))
	}
	n := max(o.esp.MaxPayload(mtu-o.outer), 0)
	if !o.tunnel {
		// In transport mode the inner IP header becomes the outer one.
		n += ipv4HeaderLen
		if o.remote.Addr().Is6() {
			n += ipv6HeaderLen - ipv4HeaderLen
		}
	}
	o.fits.Store(uint64(mtu)<<32 | uint64(n))
	return n
}

// inSA is the receiving end of an ESP SA.
type inSA struct {
	common
	esp   *esp.In
	mu    *sync.Mutex // of esp's replay window
	used  atomic.Bool
	moved atomic.Int64 // Unix nanoseconds of the last PeerMoved
	from  netip.AddrPort
	encap bool

	policyErrs atomic.Uint64
}

func newIn(sa ipsec.SA, now time.Time) (*inSA, error) {
	open, err := esp.NewIn(sa)
	if err != nil {
		return nil, err
	}
	i := &inSA{esp: open, mu: new(sync.Mutex), encap: sa.Encap != ipsec.Encap{}}
	i.sa, i.born, i.print = withoutKeys(sa), now, fingerprintOf(&sa)
	port := uint16(0)
	if i.encap {
		port = sa.Encap.RemotePort
	}
	i.from = netip.AddrPortFrom(sa.Src, port)
	return i, nil
}

// permits reports whether the SA may deliver a packet of flow f, RFC 4301
// section 5.2.
func (i *inSA) permits(f ipsec.Flow) bool {
	if len(i.sa.Selectors) == 0 {
		return true
	}
	for k := range i.sa.Selectors {
		if i.sa.Selectors[k].Contains(f) {
			return true
		}
	}
	i.policyErrs.Add(1)
	return false
}
