package sim

import (
	"testing"
	"time"

	"cygnet/internal/ipsec"
)

// Whoever began, and whoever replaced, both ends have replay protection, and a
// wire that brings all packets twice delivers each once.
func TestAdv_ESP_16_ReplayInBothRoles(t *testing.T) {
	for _, westBegins := range []bool{true, false} {
		for _, westRekeys := range []bool{true, false} {
			w, tunnel := pairOf(16, patient)
			west, east := tunnel.A, tunnel.B
			begin, rekey := west, west
			if !westBegins {
				begin = east
			}
			if !westRekeys {
				rekey = east
			}
			begin.Up(tunnel.Name)
			w.Run(time.Second)
			for range 2 {
				for _, n := range []*Node{west, east} {
					for _, sa := range n.Plane.SAs() {
						if sa.Replay < 32 {
							t.Errorf("west begins: %v, west rekeys: %v: %s at %s has a window of %d", westBegins, westRekeys, sa.ID, n.Name, sa.Replay)
						}
					}
				}
				w.Net.Data = Faults{Delay: 20 * time.Millisecond, Double: 1}
				before := len(west.Plane.Delivered) + len(east.Plane.Delivered)
				for range 20 {
					west.Ping(tunnel.flowOf(west))
					east.Ping(tunnel.flowOf(east))
				}
				w.Run(time.Second)
				if n := len(west.Plane.Delivered) + len(east.Plane.Delivered) - before; n != 40 {
					t.Errorf("%d packets came through, want 40", n)
				}
				for _, n := range []*Node{west, east} {
					for number, times := range n.Plane.Delivered {
						if times != 1 {
							t.Errorf("packet %d came %d times to %s", number, times, n.Name)
						}
					}
				}
				rekey.Rekey(tunnel.Name)
				w.Run(time.Second)
			}
			fine(t, w, 16)
		}
	}
}

// A data plane that dies takes its keys with it: after the restart there are
// other SAs with other keys, and no number was used twice under one of them.
// CRY-21 for restarts and rekeyings: the numbers are the nonces.
func TestAdv_ESP_17_CRY_21_RestartHasOtherKeys(t *testing.T) {
	for seed := range uint64(5) {
		w, tunnel := pairOf(seed, quick)
		west, east := tunnel.A, tunnel.B
		west.Up(tunnel.Name)
		w.Run(time.Second)
		used := map[[8]byte]ipsec.SAID{}
		for round, n := range []*Node{west, east, west, east} {
			for range 30 {
				west.Ping(tunnel.flowOf(west))
				east.Ping(tunnel.flowOf(east))
			}
			n.Rekey(tunnel.Name)
			w.Run(time.Second)
			for _, end := range []*Node{west, east} {
				for _, s := range end.Plane.sorted() {
					if s.Dir == ipsec.Out {
						used[fingerprint(&s.SA)] = s.ID
					}
				}
			}
			n.Crash()
			if len(n.Plane.SAs()) != 0 {
				t.Fatalf("seed %d: SAs outlive their process", seed)
			}
			w.Run(10 * time.Second)
			n.Restart()
			n.Up(tunnel.Name)
			if !w.RunUntil(3*time.Minute, tunnel.Secured) {
				report(t, w, seed, "round %d: not up again", round)
				break
			}
			for _, s := range n.Plane.sorted() {
				if old, ok := used[fingerprint(&s.SA)]; ok && s.Dir == ipsec.Out {
					t.Errorf("seed %d: %s has the keys of %s, which its process had before", seed, s.ID, old)
				}
			}
		}
		if len(w.ledger.sent) < 8 {
			t.Errorf("seed %d: only %d keys were used", seed, len(w.ledger.sent))
		}
		fine(t, w, seed)
	}
}

// What the peer sent on the old pair before it knew of the new one is taken for a
// while after a rekeying, and then no more.
func TestAdv_ESP_39_OldSAHasGrace(t *testing.T) {
	for _, late := range []struct {
		by   time.Duration
		come bool
	}{{100 * time.Millisecond, true}, {4 * time.Second, true}, {6 * time.Second, false}, {time.Minute, false}} {
		for _, westRekeys := range []bool{true, false} {
			w, tunnel := pairOf(39, patient)
			west, east := tunnel.A, tunnel.B
			west.Up(tunnel.Name)
			w.Run(time.Second)
			west.Ping(tunnel.flowOf(west)) // the pair is in use
			w.Run(time.Second)
			w.Net.Data = Faults{Delay: late.by}
			number := west.Ping(tunnel.flowOf(west))
			w.Net.Data = Faults{Delay: 20 * time.Millisecond}
			if westRekeys {
				west.Rekey(tunnel.Name)
			} else {
				east.Rekey(tunnel.Name)
			}
			w.Run(late.by + time.Second)
			if came := east.Plane.Delivered[number] == 1; came != late.come {
				t.Errorf("late by %v, west rekeys: %v: delivered %v; drops %s", late.by, westRekeys, came, drops(east))
			}
			w.Run(time.Minute)
			w.Quiet(tunnel)
			for _, b := range w.Breaches {
				if late.come || b.Rule != "I3" { // I3 knows no wire that is so slow
					t.Errorf("late by %v, west rekeys: %v: %v", late.by, westRekeys, b)
				}
			}
		}
	}
}
