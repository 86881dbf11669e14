package ikev2

import (
	"crypto/sha256"
	"time"
)

// recent remembers for a short while which IKE_SA_INIT requests have become
// IKE SAs that got past IKE_AUTH. A late copy of such a request must not make
// another half-open IKE SA. Requests whose attempt ended otherwise are not
// kept: their sender may still be trying.
type recent struct {
	until map[[sha256.Size]byte]time.Time
	order [][sha256.Size]byte // oldest first
}

// add remembers a request; when there are too many the oldest is forgotten.
func (r *recent) add(now time.Time, digest [sha256.Size]byte) {
	r.sweep(now)
	if r.until == nil {
		r.until = make(map[[sha256.Size]byte]time.Time)
	}
	if _, ok := r.until[digest]; ok {
		return
	}
	if len(r.order) == maxRecent {
		delete(r.until, r.order[0])
		r.order = r.order[1:]
	}
	r.until[digest] = now.Add(recentLife)
	r.order = append(r.order, digest)
}

// has reports whether a request is a late copy.
func (r *recent) has(now time.Time, digest [sha256.Size]byte) bool {
	until, ok := r.until[digest]
	return ok && now.Before(until)
}

func (r *recent) sweep(now time.Time) {
	for len(r.order) > 0 && !now.Before(r.until[r.order[0]]) {
		delete(r.until, r.order[0])
		r.order = r.order[1:]
	}
}
