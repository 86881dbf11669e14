package ike

import (
	"math"
	"testing"
	"time"
)

func TestPhase(t *testing.T) {
	for _, c := range []struct {
		spi  uint64
		span time.Duration
		want time.Duration
	}{
		{0, 20 * time.Second, 0}, {1 << 63, 20 * time.Second, 10 * time.Second}, {math.MaxUint64, 20 * time.Second, 20*time.Second - 1},
		{math.MaxUint64, 0, 0}, {math.MaxUint64, -time.Second, 0}, {1 << 63, math.MaxInt64, math.MaxInt64 / 2},
	} {
		if got := Phase(c.spi, c.span); got != c.want {
			t.Errorf("Phase(%#x, %v) = %v, want %v", c.spi, c.span, got, c.want)
		}
	}
	if lo, hi := Patience(math.MaxUint64, time.Minute), Patience(0, time.Minute); hi != time.Minute || lo < 30*time.Second || lo > 31*time.Second {
		t.Errorf("patience from %v to %v", lo, hi)
	}
}
