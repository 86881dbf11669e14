package ike

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/ipsec"
)

func TestBucket(t *testing.T) {
	var b Bucket
	now := time.Unix(1000, 0)
	take := func(want int) {
		t.Helper()
		got := 0
		for b.Take(now, 3, 2) {
			got++
		}
		if got != want || b.Peek(now, 3, 2) {
			t.Errorf("%d at once, want %d", got, want)
		}
	}
	take(3) // full at first
	now = now.Add(time.Second)
	take(2) // two a second
	now = now.Add(-time.Minute)
	take(0) // a clock that goes back gives nothing
	now = now.Add(time.Hour)
	take(3) // never more than the burst
}

func TestChance(t *testing.T) {
	source := rand.NewChaCha8([32]byte{1})
	least, most := 1.0, 0.0
	for range 10000 {
		f := Fraction(source)
		least, most = min(least, f), max(most, f)
		if d := Jitter(source, 10*time.Second); d < 9*time.Second || d >= 11*time.Second {
			t.Fatalf("10s becomes %v", d)
		}
	}
	if least < 0 || least > 0.01 || most < 0.99 || most >= 1 {
		t.Errorf("fractions from %v to %v", least, most)
	}
	defer func() {
		if recover() == nil {
			t.Error("goes on without randomness")
		}
	}()
	Octets(bytes.NewReader(make([]byte, 3)), 4)
}

func TestEncapPorts(t *testing.T) {
	end := netip.MustParseAddrPort
	for _, c := range []struct {
		local, remote string
		want          ipsec.Encap
	}{
		{"192.0.2.1:500", "192.0.2.2:500", ipsec.Encap{LocalPort: 4500, RemotePort: 4500}},
		{"192.0.2.1:4500", "192.0.2.2:1024", ipsec.Encap{LocalPort: 4500, RemotePort: 1024}},
	} {
		if got := EncapPorts(end(c.local), end(c.remote)); got != c.want {
			t.Errorf("%s to %s: %+v", c.local, c.remote, got)
		}
	}
}
