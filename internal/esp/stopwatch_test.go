package esp

import "time"

// stopwatch sums the time between start and stop.
type stopwatch struct {
	total time.Duration
	since time.Time
}

func (w *stopwatch) start() { w.since = time.Now() }
func (w *stopwatch) stop()  { w.total += time.Since(w.since) }
