package klips

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
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

// outSA is the sending end of an SA. Of esp, ah and comp the one of its
// protocol is set; a tun SA has none.
type outSA struct {
	common
	esp  *esp.Out
	ah   *esp.AHOut
	comp *esp.CompOut

	numbers sequence // of esp or ah; nil for IPComp and tun

	tunnel bool // it brings an IP header
	encap  bool
	remote netip.AddrPort // port 0 unless encap
	stream uint16         // our port of the TCP connection, 0 where there is none
	outer  int            // octets of outer IP and UDP headers

	path    atomic.Int64 // path MTU learned from ICMP; 0: none
	pathEnd atomic.Int64 // Unix nanoseconds, when it is forgotten
	pathSet time.Time    // when it changed last; under Plane.mu

	before, after atomic.Uint64 // octets that went into IPComp, and came out
}

var (
	errFamily = errors.New("source and destination are of two families")
	errEncap  = fmt.Errorf("only ESP goes in UDP: %w", ipsec.ErrUnsupported)
)

func newOut(sa ipsec.SA, rand io.Reader, now time.Time) (o *outSA, err error) {
	o = &outSA{tunnel: sa.Mode == ipsec.Tunnel || sa.ID.Proto == ipsec.Tun, encap: sa.Encap != ipsec.Encap{}}
	switch sa.ID.Proto {
	case ipsec.ESP:
		o.esp, err = esp.NewOut(sa, rand)
		o.numbers = o.esp
	case ipsec.AH:
		o.ah, err = esp.NewAHOut(sa)
		o.numbers = o.ah
	case ipsec.Comp:
		o.comp, err = esp.NewCompOut(sa)
	case ipsec.Tun:
	default:
		err = ipsec.ErrUnsupported
	}
	switch {
	case err != nil:
	case !sa.Src.IsValid() || sa.Src.Is4() != sa.ID.Dst.Is4():
		err = errFamily
	case o.encap && o.esp == nil:
		err = errEncap
	}
	if err != nil {
		return nil, fmt.Errorf("outbound SA %s from %s: %w", sa.ID, sa.Src, err)
	}
	o.sa, o.born, o.print = withoutKeys(sa), now, fingerprintOf(&sa)
	o.outer = ipv4HeaderLen
	if sa.ID.Dst.Is6() {
		o.outer = ipv6HeaderLen
	}
	port := uint16(0)
	if o.encap {
		port = sa.Encap.RemotePort
		o.outer += udpHeaderLen
		if sa.Encap.Stream {
			o.stream = sa.Encap.LocalPort
		}
	}
	o.remote = netip.AddrPortFrom(sa.ID.Dst, port)
	return o, nil
}

func (o *outSA) tun() bool { return o.sa.ID.Proto == ipsec.Tun }

// maxPayload is the largest payload that the SA makes n octets of, at most.
func (o *outSA) maxPayload(n int) int {
	switch {
	case o.esp != nil:
		return o.esp.MaxPayload(n)
	case o.ah != nil:
		return n - o.ah.HeadLen()
	}
	return n
}

// sequence is what ESP and AH number packets with.
type sequence interface {
	Reserve(n int) (first uint64, err error)
	Last() uint64
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
	if old != nil && old.series() == o.series() && old.print == o.print {
		o.esp, o.ah, o.comp, o.numbers = old.esp, old.ah, old.comp, old.numbers
	}
}

// series is what SAs of one peer that is somewhere else have in common.
type series struct {
	proto ipsec.Proto
	spi   ipsec.SPI
}

func (c *common) series() series { return series{c.sa.ID.Proto, c.sa.ID.SPI} }

// inherit keeps the replay window of an SA that is installed once more.
func (i *inSA) inherit(old *inSA) {
	if old != nil && old.print == i.print && old.sa.Replay == i.sa.Replay {
		i.esp, i.ah, i.window, i.mu = old.esp, old.ah, old.window, old.mu
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

// inSA is the receiving end of an SA. Of esp, ah and comp the one of its
// protocol is set; a tun SA has none.
type inSA struct {
	common
	esp  *esp.In
	ah   *esp.AHIn
	comp *esp.CompIn

	window arrivals    // of esp or ah; nil for IPComp and tun
	mu     *sync.Mutex // of the replay window
	used   atomic.Bool
	moved  atomic.Int64 // Unix nanoseconds of the last PeerMoved
	from   netip.AddrPort
	encap  bool
	alone  bool          // an ESP SA that is in no bundle: the fast path
	others atomic.Uint64 // see inSA.surrounds

	tunnel bool // as the innermost of a bundle, it makes that a tunnel

	policyErrs    atomic.Uint64
	before, after atomic.Uint64 // octets that went into IPComp at the peer, and came out
}

func newIn(sa ipsec.SA, now time.Time) (i *inSA, err error) {
	i = &inSA{mu: new(sync.Mutex), encap: sa.Encap != ipsec.Encap{}, tunnel: sa.Mode == ipsec.Tunnel || sa.ID.Proto == ipsec.Tun}
	switch sa.ID.Proto {
	case ipsec.ESP:
		i.esp, err = esp.NewIn(sa)
		i.window = i.esp
	case ipsec.AH:
		i.ah, err = esp.NewAHIn(sa)
		i.window = i.ah
	case ipsec.Comp:
		i.comp, err = esp.NewCompIn(sa)
	case ipsec.Tun:
	default:
		err = ipsec.ErrUnsupported
	}
	switch {
	case err != nil:
	case i.encap && i.esp == nil:
		err = errEncap
	default:
		err = checkBundle(&sa)
	}
	if err != nil {
		return nil, fmt.Errorf("inbound SA %s: %w", sa.ID, err)
	}
	if len(sa.Bundle) == 0 {
		sa.Bundle = []ipsec.SAID{sa.ID}
	}
	sa.Bundle = slices.Clone(sa.Bundle)
	i.alone = i.esp != nil && len(sa.Bundle) == 1
	i.sa, i.born, i.print = withoutKeys(sa), now, fingerprintOf(&sa)
	port := uint16(0)
	if i.encap {
		port = sa.Encap.RemotePort
	}
	i.from = netip.AddrPortFrom(sa.Src, port)
	return i, nil
}

// ipip reports whether packets of IP-in-IP may be for the SA as they come:
// there is nothing around the inner packet, or IPComp that was left out.
func (i *inSA) ipip() bool {
	if !i.tunnel || i.esp != nil || i.ah != nil || i.sa.Bundle[0] != i.sa.ID {
		return false
	}
	return optional(i.sa.Bundle[1:])
}

// optional reports whether a packet may come without having gone through ids:
// IPComp is left out where nothing shrinks.
func optional(ids []ipsec.SAID) bool {
	return !slices.ContainsFunc(ids, func(id ipsec.SAID) bool { return id.Proto != ipsec.Comp })
}

// outside lists the protocols besides ESP and AH with which the packets of the
// SA's bundle may come from outside.
func (i *inSA) outside() (list []ipsec.Proto) {
	ids := i.sa.Bundle
	if ids[len(ids)-1].Proto == ipsec.Comp {
		list = append(list, ipsec.Comp)
	}
	if optional(ids) || ids[0].Proto == ipsec.Tun && optional(ids[1:]) {
		list = append(list, ipsec.Tun)
	}
	return list
}

var (
	errBundleLong  = fmt.Errorf("a bundle has %d SAs at most", ipsec.MaxBundle)
	errBundleOther = errors.New("the bundle does not name the SA itself")
	errBundleDst   = errors.New("SAs of a bundle have one destination")
	errBundleTun   = errors.New("IP-in-IP is the innermost of a bundle")
	errBundleTwice = errors.New("a bundle names an SA twice")
)

func checkBundle(sa *ipsec.SA) error {
	if len(sa.Bundle) == 0 {
		return nil
	}
	if !slices.Contains(sa.Bundle, sa.ID) {
		return errBundleOther
	}
	return checkIDs(sa.Bundle)
}

// checkIDs checks the names of a bundle.
func checkIDs(ids []ipsec.SAID) error {
	if len(ids) > ipsec.MaxBundle {
		return errBundleLong
	}
	for i, id := range ids {
		switch {
		case id.Dst != ids[0].Dst:
			return errBundleDst
		case i > 0 && id.Proto == ipsec.Tun:
			return errBundleTun
		case slices.Contains(ids[:i], id):
			return errBundleTwice
		}
	}
	return nil
}

// arrivals is what ESP and AH know of the packets so far.
type arrivals interface {
	Sequence(pkt []byte) (seq uint64, ok bool)
	Accept(seq uint64) (newest bool, err error)
	Top() uint64
	Bits() uint64
	Stats() esp.Stats
}

// permits reports whether the SA may deliver a packet of flow f, RFC 4301
// section 5.2, and counts a packet that it may not.
func (i *inSA) permits(f ipsec.Flow) bool {
	if i.selects(f) {
		return true
	}
	i.policyErrs.Add(1)
	return false
}

func (i *inSA) selects(f ipsec.Flow) bool {
	if len(i.sa.Selectors) == 0 {
		return true
	}
	for k := range i.sa.Selectors {
		if i.sa.Selectors[k].Contains(f) {
			return true
		}
	}
	return false
}
