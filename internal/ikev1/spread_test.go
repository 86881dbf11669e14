package ikev1

import (
	"math/rand/v2"
	"testing"
	"time"

	"cygnet/internal/ike"
)

// A hundred thousand IKE SAs come up within one second, and their peers, behind a
// NAT with us, send nothing but answers: neither the checks of liveness nor the
// keepalives come in waves, in no second of five minutes twice as many as in the
// mean. adversary.md RES-17.
func TestAdv_RES_17_Spread(t *testing.T) {
	const (
		n     = 100_000
		delay = 30 * time.Second
		end   = 300
	)
	random := rand.New(rand.NewPCG(17, 1))
	start := time.Unix(1_000_000_000, 0)
	probes, keepalives := make([]int, end), make([]int, end)
	count := func(in []int, at time.Time) bool {
		second := int(at.Sub(start) / time.Second)
		if second < end {
			in[second]++
		}
		return second < end
	}
	for range n {
		up := start.Add(time.Duration(random.Int64N(int64(time.Second))))
		s := &SA{first: true, state: stateUp, spiI: random.Uint64(), conn: &ike.Conn{DPDDelay: delay}, lastHeard: up}
		s.dpd.peer = true
		for at := s.probeAt(); count(probes, at); at = s.probeAt() {
			s.lastHeard = at.Add(50 * time.Millisecond)
		}
		s.conn, s.keepAliveAt = &ike.Conn{}, (&step{SA: s, now: up}).firstKeepAlive()
		for count(keepalives, s.keepAliveAt) {
			st := &step{SA: s, now: s.keepAliveAt, out: new([]ike.Action)}
			st.isakmpTimes(func(t time.Time) bool { return !t.IsZero() && !st.now.Before(t) })
		}
	}
	for name, in := range map[string][]int{"liveness checks": probes, "keepalives": keepalives} {
		total, peak := 0, 0
		for _, c := range in {
			total += c
			peak = max(peak, c)
		}
		mean := float64(total) / end
		if total < n*end/int(delay/time.Second) {
			t.Errorf("%s: only %d", name, total)
		}
		if float64(peak) > 2*mean {
			t.Errorf("%s: %d in one second, %.0f in the mean", name, peak, mean)
		}
	}
}
