package ike

import "time"

// Bucket is a token bucket, which bounds how often something may happen; the
// zero value is full.
type Bucket struct {
	used float64
	at   time.Time
}

// Peek reports whether one more may happen now, of at most burst at once and
// perSec a second.
func (b *Bucket) Peek(now time.Time, burst, perSec float64) bool {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.used = max(0, b.used-passed*perSec)
		b.at = now
	}
	return b.used+1 <= burst
}

// Take is Peek, and takes that one if it may.
func (b *Bucket) Take(now time.Time, burst, perSec float64) bool {
	if !b.Peek(now, burst, perSec) {
		return false
	}
	b.used++
	return true
}
