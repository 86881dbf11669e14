package pluto

import (
	"fmt"
	"strings"
	"time"

	"cygnet/internal/ike"
)

// debugAreas are the names of plutodebug= (freeswan.md 4.5).
var debugAreas = []string{"raw", "crypt", "parsing", "emitting", "control", "lifecycle", "klips", "dns", "oppo", "controlmore", "pfkey", "private"}

func (d *Daemon) setDebug(areas []string) {
	clear(d.debug)
	for _, a := range areas {
		a = strings.TrimPrefix(a, "--debug-")
		switch a {
		case "none":
			clear(d.debug)
		case "all":
			for _, a := range debugAreas {
				d.debug[a] = true
			}
		default:
			d.debug[a] = true
		}
	}
	delete(d.debug, "private") // keys are never logged, whoever asks
}

// debugf logs for one area; such lines begin with "| ".
func (d *Daemon) debugf(area, format string, args ...any) {
	if d.debug[area] && d.admit(area) {
		d.log.Info(fmt.Sprintf(format, args...))
	}
}

// quota bounds the lines of one class of debugging: most classes speak of
// packets, which anybody may send, and a log must not fill the disk (R12.20).
type quota struct {
	bucket ike.Bucket
	missed int // lines left out since the last one that was written
}

// admit reports whether one more line of a class may be written now. The first
// one after a gap tells how long that was.
func (d *Daemon) admit(class string) bool {
	q := d.quotas[class]
	if q == nil {
		q = &quota{}
		d.quotas[class] = q
	}
	if !q.bucket.Take(time.Now(), debugBurst, debugPerSec) {
		q.missed++
		return false
	}
	if q.missed > 0 {
		d.log.Info(fmt.Sprintf("| %d lines of debugging class %s were left out: more than %d a second", q.missed, class, debugPerSec))
		q.missed = 0
	}
	return true
}

// unsent tells of a message that could not be sent. Who forges requests from
// addresses that cannot be reached may cause as many as he likes, so the lines
// are bounded.
func (d *Daemon) unsent(a ike.Send, err error) {
	d.tally.unsent++
	q := &d.sending
	if !q.bucket.Take(time.Now(), unsentBurst, unsentPerSec) {
		q.missed++
		return
	}
	others := ""
	if q.missed > 0 {
		others = fmt.Sprintf("; and %d others before", q.missed)
		q.missed = 0
	}
	d.log.Warn(fmt.Sprintf("ERROR: sending an IKE message to %s: %v%s", a.Remote, err, others))
}
