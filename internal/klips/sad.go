package klips

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"

	"cygnet/internal/ipsec"
)

// The SPIs we hand out are 12 random bits and the number of a slot, so the
// lookup of an arriving packet is an index (datapath.md 7.8). An SPI that
// somebody else chose, as in manual keying, is found in a map.
const (
	slotBits  = 20
	chunkBits = 12
	chunkLen  = 1 << chunkBits
	slotMask  = 1<<slotBits - 1
)

type chunk [chunkLen]atomic.Pointer[inSA]

// sad is the inbound SAD as workers see it. Its methods other than lookup are
// called under Plane.mu.
type sad struct {
	chunks [1 << (slotBits - chunkBits)]atomic.Pointer[chunk]
	taken  [1 << slotBits / 64]uint64 // reserved or in use
	free   int
	others atomic.Pointer[map[ipsec.SAID]*inSA] // copied on change

	// tunnels are the SAs that a packet of IP-in-IP may be for, which has no
	// number in it. Copied on change.
	tunnels atomic.Pointer[map[ends][]*inSA]
}

// ends are the outer addresses of a tunnel.
type ends struct{ src, dst netip.Addr }

func (s *sad) init() {
	s.free = 1 << slotBits
	s.others.Store(&map[ipsec.SAID]*inSA{})
	s.tunnels.Store(&map[ends][]*inSA{})
}

// lookup returns the SA of a packet that arrived for dst, or nil.
func (s *sad) lookup(spi ipsec.SPI, proto ipsec.Proto, dst netip.Addr) *inSA {
	n := spi & slotMask
	if c := s.chunks[n>>chunkBits].Load(); c != nil {
		if sa := c[n%chunkLen].Load(); sa != nil && sa.sa.ID.SPI == spi && sa.sa.ID.Proto == proto && sa.sa.ID.Dst == dst {
			return sa
		}
	}
	return (*s.others.Load())[ipsec.SAID{Dst: dst, Proto: proto, SPI: spi}]
}

var errFull = errors.New("no SPI is free")

// reserve takes a random free slot and returns its SPI. It keeps to the lower
// slots, twice as many as are in use, so that few tunnels need few chunks.
func (s *sad) reserve(rand io.Reader) (ipsec.SPI, error) {
	if s.free == 0 {
		return 0, errFull
	}
	var b [4]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return 0, fmt.Errorf("random SPI: %w", err)
	}
	r := binary.BigEndian.Uint32(b[:])
	mask := uint32(chunkLen - 1)
	for used := 1<<slotBits - s.free; int(mask) < 2*used && mask < slotMask; {
		mask = mask<<1 | 1
	}
	n := r & mask
	for s.taken[n/64]&(1<<(n%64)) != 0 {
		n = (n + 1) & mask
	}
	s.taken[n/64] |= 1 << (n % 64)
	s.free--
	// The upper bits are never 0, so every SPI is far above MinAutoSPI.
	top := max(r>>slotBits, 1)
	return ipsec.SPI(top<<slotBits | n), nil
}

func (s *sad) release(spi ipsec.SPI) {
	n := spi & slotMask
	if s.taken[n/64]&(1<<(n%64)) != 0 {
		s.taken[n/64] &^= 1 << (n % 64)
		s.free++
	}
}

// put makes sa visible, in place of old if that is not nil. slot says that its
// SPI came from reserve.
func (s *sad) put(sa, old *inSA, slot bool) {
	if old != nil && !(sa.ipip() && sa.sa.Src == old.sa.Src) {
		s.setTunnel(old, false)
	}
	s.setTunnel(sa, true)
	if !slot {
		m := maps.Clone(*s.others.Load())
		m[sa.sa.ID] = sa
		s.others.Store(&m)
		return
	}
	n := sa.sa.ID.SPI & slotMask
	c := &s.chunks[n>>chunkBits]
	if c.Load() == nil {
		c.Store(new(chunk))
	}
	c.Load()[n%chunkLen].Store(sa)
}

// remove makes sa invisible; its slot, if it has one, stays taken.
func (s *sad) remove(sa *inSA, slot bool) {
	s.setTunnel(sa, false)
	if !slot {
		m := maps.Clone(*s.others.Load())
		delete(m, sa.sa.ID)
		s.others.Store(&m)
		return
	}
	n := sa.sa.ID.SPI & slotMask
	if c := s.chunks[n>>chunkBits].Load(); c != nil {
		c[n%chunkLen].Store(nil)
	}
}

// setTunnel enters sa among the tunnels or takes it out, in order of SPIs.
func (s *sad) setTunnel(sa *inSA, in bool) {
	if !sa.ipip() {
		return
	}
	m := maps.Clone(*s.tunnels.Load())
	key := ends{sa.sa.Src, sa.sa.ID.Dst}
	list := slices.DeleteFunc(slices.Clone(m[key]), func(x *inSA) bool { return x.sa.ID == sa.sa.ID })
	if in {
		list = append(list, sa)
		slices.SortFunc(list, func(a, b *inSA) int {
			return cmp.Or(cmp.Compare(a.sa.ID.Proto, b.sa.ID.Proto), cmp.Compare(a.sa.ID.SPI, b.sa.ID.SPI))
		})
	}
	if m[key] = list; len(list) == 0 {
		delete(m, key)
	}
	s.tunnels.Store(&m)
}
