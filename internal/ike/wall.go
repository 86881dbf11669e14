package ike

import "time"

// Wall tells the time of day at an instant of the clock that machines go by.
// Certificates are judged by it. It may jump, when an administrator sets the clock;
// Step's time never does, and everything else goes by that. Nil says that Step's time
// is good for both, as that of time.Now is.
type Wall func(now time.Time) time.Time

// At is the time of day at now.
func (w Wall) At(now time.Time) time.Time {
	if w == nil {
		return now
	}
	return w(now)
}
