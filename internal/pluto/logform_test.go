package pluto

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The clock goes back an hour, and many write at once: the numbers of the lines
// rise by one, so their order is known.
func TestAdv_CLK_08_LinesHaveNumbers(t *testing.T) {
	var b bytes.Buffer
	h := NewLogHandler(&b, true, slog.LevelInfo)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	handlers := []slog.Handler{h, h.WithAttrs([]slog.Attr{slog.Int("a", 1)})}
	for i := range 4 {
		r := slog.NewRecord(at.Add(-time.Duration(i)*time.Hour), slog.LevelInfo, "first", 0)
		if err := handlers[i%2].Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { slog.New(handlers[i%2]).Info("[99] later") }) // text that looks like a number is text
	}
	wg.Wait()
	lines := slices.Collect(strings.Lines(b.String()))
	if len(lines) != 24 || lines[0] != "2026-03-01 12:00:00.000 [1] first\n" || lines[3] != "2026-03-01 09:00:00.000 [4] first a=1\n" {
		t.Fatalf("%q", lines)
	}
	for i, line := range lines {
		if want := fmt.Sprintf(" [%d] ", i+1); line[23:23+len(want)] != want {
			t.Errorf("line %d is %q", i, line)
		}
	}
}
