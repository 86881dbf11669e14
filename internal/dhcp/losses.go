package dhcp

import (
	"fmt"
	"time"
)

// lossEvery is the least time between two lines about messages that cannot be
// relayed: whoever is in a tunnel may cause as many of these as he likes.
const lossEvery = 10 * time.Second

// losses turns such messages into lines for the log.
type losses struct {
	next   time.Time // when the next line may be
	missed int       // messages without one since the last line
}

// line returns what the log is to say of a loss now, false for nothing.
func (l *losses) line(now time.Time, text string) (string, bool) {
	if now.Before(l.next) {
		l.missed++
		return "", false
	}
	if l.missed > 0 {
		text += fmt.Sprintf(" (and %d more messages since the last line)", l.missed)
	}
	l.next, l.missed = now.Add(lossEvery), 0
	return text, true
}
