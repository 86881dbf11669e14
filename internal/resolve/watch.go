package resolve

import "time"

// clockSlack is how far the time of day may drift from the monotonic clock, by
// being adjusted or smeared over a leap second, before it counts as set.
const clockSlack = time.Minute

// watch notices that the time of day was set: it runs beside the monotonic clock
// otherwise. What was proven before is then to be proven anew, because signatures
// are good for a span of the time of day (RFC 4034, section 3.1.5), while a TTL
// counts seconds that have passed.
type watch struct {
	now  func() time.Time // with a monotonic reading
	wall func() time.Time // nil: now is good for both

	start time.Time
	from  time.Time     // the time of day at start
	off   time.Duration // of the time of day from where it was at start, when last looked at
}

// read returns both clocks.
func (w *watch) read() (now, wall time.Time) {
	now = w.now()
	if w.wall == nil {
		return now, now
	}
	return now, w.wall()
}

// set reports whether the time of day was set since the last call.
func (w *watch) set() bool {
	now, wall := w.read()
	wall = wall.Round(0)
	if w.start.IsZero() {
		w.start, w.from = now, wall
		return false
	}
	off := wall.Sub(w.from) - now.Sub(w.start)
	if (off - w.off).Abs() <= clockSlack {
		return false
	}
	w.off = off
	return true
}
