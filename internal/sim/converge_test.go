package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cygnet/internal/connection"
)

// pairOf is a World with the two gateways of the manual and one tunnel.
func pairOf(seed uint64, edit ...func(*Node, *connection.Description)) (*World, *Tunnel) {
	w := New(seed)
	w.Net.IKE = Faults{Delay: 20 * time.Millisecond}
	w.Net.Data = Faults{Delay: 20 * time.Millisecond}
	west, east := w.Add("west", "192.0.2.1", IKEv2), w.Add("east", "198.51.100.2", IKEv2)
	return w, w.Tunnel("net", west, east, "10.1.0.0/16", "10.2.0.0/16", edit...)
}

// report fails the test with the end of the history.
func report(t *testing.T, w *World, seed uint64, format string, args ...any) {
	t.Helper()
	lines := strings.Split(w.Trace.String(), "\n")
	if len(lines) > 80 {
		lines = append([]string{"..."}, lines[len(lines)-80:]...)
	}
	t.Errorf("seed %d: %s\n%s", seed, fmt.Sprintf(format, args...), strings.Join(lines, "\n"))
}

// start brings the tunnel up from one end, the other, or both at once.
func start(t *Tunnel, who int) {
	if who != 1 {
		t.A.Up(t.Name)
	}
	if who != 0 {
		t.B.Up(t.Name)
	}
}

// The wire loses three datagrams of ten, doubles and reorders others. Every
// handshake comes to its end all the same, whoever begins (adversary.md NET-01).
func TestThousandHandshakesOnABadWire(t *testing.T) {
	seeds := uint64(1000)
	if testing.Short() {
		seeds = 50
	}
	var total Stats
	var slowest time.Duration
	for seed := range seeds {
		w, tunnel := pairOf(seed)
		w.Net.IKE = Faults{Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond, Loss: 0.3, Double: 0.05, Late: 0.05}
		start(tunnel, int(seed%3))
		if !w.RunUntil(10*time.Minute, tunnel.Secured) {
			report(t, w, seed, "not up after ten minutes")
			continue
		}
		slowest = max(slowest, w.Elapsed())
		w.Net.Calm()
		w.Run(3 * time.Minute)
		w.Quiet(tunnel)
		if len(w.Breaches) > 0 {
			report(t, w, seed, "breaches %v", w.Breaches[:min(5, len(w.Breaches))])
		}
		total = total.Plus(w.Stats)
		if t.Failed() && seed > 20 {
			break
		}
	}
	t.Logf("%d seeds, slowest %v, %+v", seeds, slowest, total)
	if rate := float64(total.Lost) / float64(total.Sent); rate < 0.1 {
		t.Errorf("only %.0f %% of all datagrams were lost", rate*100)
	}
}

func TestSameSeedSameTrace(t *testing.T) {
	run := func(seed uint64) *World {
		w, tunnel := pairOf(seed, shortLives)
		w.Net.IKE = Faults{Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond, Loss: 0.3, Double: 0.1, Late: 0.1, Corrupt: 0.05}
		start(tunnel, int(seed%3))
		w.Stream(tunnel, tunnel.A, time.Second)
		w.Run(20 * time.Minute)
		return w
	}
	for seed := range uint64(10) {
		a, b := run(seed), run(seed)
		if a.Trace.Hash() != b.Trace.Hash() || a.Stats != b.Stats {
			for i, line := range a.Trace.lines {
				if i >= len(b.Trace.lines) || b.Trace.lines[i] != line {
					t.Fatalf("seed %d: histories part at\n%s\n%s", seed, line, b.Trace.lines[min(i, len(b.Trace.lines)-1)])
				}
			}
			t.Fatalf("seed %d: hashes or statistics differ", seed)
		}
	}
	if run(1).Trace.Hash() == run(2).Trace.Hash() {
		t.Error("two seeds have one history")
	}
}

// shortLives makes an hour hold many rekeyings.
func shortLives(_ *Node, d *connection.Description) {
	d.ChildLife, d.IKELife, d.RekeyMargin, d.RekeyFuzz = 8*time.Minute, 15*time.Minute, 4*time.Minute, 50
}

// patient makes a dead peer out of a lossy wire less likely.
func patient(_ *Node, d *connection.Description) { d.RetransmitTotal = 2 * time.Minute }

// A rekeying loses no packet: of a Child SA and of the IKE SA, from each side
// and from both at once, on a good wire and on a bad one.
func TestRekeyLosesNoPacket(t *testing.T) {
	// Not so bad that seven copies of one request or their answers are lost:
	// then the peer counts as dead, and rightly.
	bad := Faults{Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond, Loss: 0.15, Double: 0.1, Late: 0.1}
	for _, wire := range []struct {
		name   string
		faults Faults
		seeds  uint64
	}{{"good wire", Faults{Delay: 20 * time.Millisecond}, 3}, {"bad wire", bad, 20}} {
		for _, what := range []string{"child", "IKE SA", "both"} {
			for who, name := range []string{"west", "east", "west and east"} {
				t.Run(fmt.Sprintf("%s/%s by %s", wire.name, what, name), func(t *testing.T) {
					for seed := range wire.seeds {
						rekeyOnce(t, seed, wire.faults, what, who)
					}
				})
			}
		}
	}
}

func rekeyOnce(t *testing.T, seed uint64, faults Faults, what string, who int) {
	t.Helper()
	w, tunnel := pairOf(seed, patient)
	start(tunnel, 0)
	if !w.RunUntil(time.Minute, tunnel.Secured) {
		report(t, w, seed, "not up")
		return
	}
	w.Run(10 * time.Second)
	there, back := w.Stream(tunnel, tunnel.A, 50*time.Millisecond), w.Stream(tunnel, tunnel.B, 50*time.Millisecond)
	w.Run(time.Second)
	w.Net.IKE = faults
	before := w.Stats
	for i, n := range []*Node{tunnel.A, tunnel.B} {
		if who != 2 && who != i {
			continue
		}
		if what != "IKE SA" {
			n.Rekey(tunnel.Name)
		}
		if what != "child" {
			n.RekeyIKE(tunnel.Name)
		}
	}
	w.Run(2 * time.Minute)
	w.Net.Calm()
	w.Run(2 * time.Minute)
	there.Stop()
	back.Stop()
	w.Run(time.Second)
	for _, s := range []*Stream{there, back} {
		if lost, twice := s.Lost(); len(lost)+len(twice) > 0 {
			report(t, w, seed, "to %s: %d packets lost, %d twice", s.to.Name, len(lost), len(twice))
		}
	}
	if what != "IKE SA" && w.Stats.ChildRekeys == before.ChildRekeys || what != "child" && w.Stats.IKERekeys == before.IKERekeys {
		report(t, w, seed, "nothing was rekeyed: %+v", w.Stats)
	}
	w.Quiet(tunnel)
	if len(w.Breaches) > 0 {
		report(t, w, seed, "breaches %v", w.Breaches[:min(5, len(w.Breaches))])
	}
}

// Four hours of two gateways whose SAs live minutes, on a bad wire: every rekeying
// is in time, nothing is lost, nothing is left over.
func TestHoursOfRekeying(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		w, tunnel := pairOf(seed, shortLives, patient)
		start(tunnel, int(seed%3))
		if !w.RunUntil(time.Minute, tunnel.Secured) {
			report(t, w, seed, "not up")
			continue
		}
		w.Run(10 * time.Second)
		w.Net.IKE = Faults{Delay: 20 * time.Millisecond, Jitter: 100 * time.Millisecond, Loss: 0.1, Double: 0.05, Late: 0.1}
		there, back := w.Stream(tunnel, tunnel.A, 500*time.Millisecond), w.Stream(tunnel, tunnel.B, 500*time.Millisecond)
		w.Run(4 * time.Hour)
		w.Net.Calm()
		w.Run(5 * time.Minute)
		there.Stop()
		back.Stop()
		w.Run(time.Second)
		for _, s := range []*Stream{there, back} {
			if lost, twice := s.Lost(); len(lost)+len(twice) > 0 {
				report(t, w, seed, "to %s: %d of %d packets lost, %d twice", s.to.Name, len(lost), s.Sent(), len(twice))
			}
		}
		w.Quiet(tunnel)
		if len(w.Breaches) > 0 {
			report(t, w, seed, "breaches %v", w.Breaches[:min(5, len(w.Breaches))])
		}
		if w.Stats.ChildRekeys < 50 || w.Stats.IKERekeys < 20 {
			t.Errorf("seed %d: only %d and %d rekeyings", seed, w.Stats.ChildRekeys, w.Stats.IKERekeys)
		}
		t.Logf("seed %d: %+v", seed, w.Stats)
	}
}
