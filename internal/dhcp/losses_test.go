package dhcp

import (
	"testing"
	"time"
)

// Messages that cannot be relayed are one line in lossEvery, which counts them.
func TestLosses(t *testing.T) {
	var l losses
	start := time.Now()
	lines := []string{}
	for i := range 2500 {
		if text, ok := l.line(start.Add(time.Duration(i)*lossEvery/1000), "no way"); ok {
			lines = append(lines, text)
		}
	}
	want := []string{"no way", "no way (and 999 more messages since the last line)", "no way (and 999 more messages since the last line)"}
	if len(lines) != len(want) {
		t.Fatalf("%q", lines)
	}
	for i := range want {
		if lines[i] != want[i] {
			t.Errorf("line %d: %q, want %q", i, lines[i], want[i])
		}
	}
}
