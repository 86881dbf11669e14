package main

import (
	"strings"
	"testing"

	"cygnet/internal/whack"
)

// 10.6: the command takes a second to an hour, five minutes if nothing is said, and
// asks nothing of the daemon where it does not understand.
func TestCaptiveCommand(t *testing.T) {
	l := listen(t)
	for flags, seconds := range map[string]int{
		"on": 300, "on --for 1s": 1, "on --for 90s": 90, "on --for 1h": 3600, "off": 0,
		"on --for 999ms": -1, "on --for 0s": -1, "on --for -5m": -1, "on --for 1h1s": -1, "on --for ever": -1,
		"off --for 5m": -1, "perhaps": -1, "": -1, "on off": -1,
	} {
		r := runIpsec(t, append([]string{"oe", "captive"}, strings.Fields(flags)...)...)
		got := l.last()
		switch {
		case seconds < 0 && (r.code != int(whack.ExitUsage) || len(got) != 0 || r.err == ""):
			t.Errorf("%q: exit %d, %q, asked %+v", flags, r.code, r.err, got)
		case seconds >= 0 && (r.code != 0 || len(got) != 1 || got[0].Op != whack.OpCaptive || got[0].Args.Seconds != uint32(seconds)):
			t.Errorf("%q: exit %d, %q, asked %+v", flags, r.code, r.err, got)
		}
	}
}
