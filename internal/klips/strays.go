package klips

import (
	"net/netip"
	"sync/atomic"

	"cygnet/internal/ipsec"
)

// strays remembers packets that no SA is for, until housekeeping tells of all
// of them at once: a flood costs an addition each, and one event a second.
type strays struct {
	n     atomic.Uint64
	first atomic.Pointer[ipsec.Strays] // of those in n, but its Count
}

// note counts a packet that named id.
func (s *strays) note(id ipsec.SAID, from netip.Addr) {
	s.n.Add(1)
	if s.first.Load() == nil {
		s.first.CompareAndSwap(nil, &ipsec.Strays{ID: id, From: from})
	}
}

// take returns what has come since the last call, and false for nothing.
func (s *strays) take() (ipsec.Strays, bool) {
	first := s.first.Swap(nil)
	if first == nil {
		return ipsec.Strays{}, false
	}
	// Whoever noted it may have been counted by the call before.
	first.Count = s.n.Swap(0)
	return *first, first.Count > 0
}
