package sim

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
)

// quick makes dead peers known within a minute.
func quick(_ *Node, d *connection.Description) {
	d.RetransmitTotal, d.DPDDelay, d.DPDAction = 30*time.Second, 20*time.Second, ike.DPDRestart
}

// fine fails the test where a rule was broken.
func fine(t *testing.T, w *World, seed uint64) {
	t.Helper()
	if len(w.Breaches) > 0 {
		report(t, w, seed, "breaches %v", w.Breaches[:min(5, len(w.Breaches))])
	}
}

// Half of the datagrams are out of order by up to 200 ms, a fifth come twice, and
// so do packets: nothing is lost but by the link.
func TestAdv_NET_02_ReorderedAndDoubled(t *testing.T) {
	for seed := range uint64(6) {
		w, tunnel := pairOf(seed, patient, shortLives)
		w.Net.IKE = Faults{Delay: 10 * time.Millisecond, Jitter: 200 * time.Millisecond, Double: 0.2}
		w.Net.Data = Faults{Delay: 10 * time.Millisecond, Jitter: 200 * time.Millisecond, Double: 0.2}
		tunnel.A.Up(tunnel.Name)
		if !w.RunUntil(time.Minute, tunnel.Secured) {
			report(t, w, seed, "not up")
			continue
		}
		w.Run(time.Second)
		there, back := w.Stream(tunnel, tunnel.A, 100*time.Millisecond), w.Stream(tunnel, tunnel.B, 100*time.Millisecond)
		w.Run(30 * time.Minute)
		there.Stop()
		back.Stop()
		w.Run(time.Second)
		for _, s := range []*Stream{there, back} {
			if lost, twice := s.Lost(); len(lost)+len(twice) > 0 {
				report(t, w, seed, "to %s: %d of %d lost, %d twice", s.to.Name, len(lost), s.Sent(), len(twice))
			}
		}
		if w.Stats.ChildRekeys < 4 || w.Stats.DataDoubled == 0 {
			t.Errorf("seed %d: %+v", seed, w.Stats)
		}
		w.Quiet(tunnel)
		fine(t, w, seed)
	}
}

// A partition of ten seconds, in one direction or both, begins at every point of
// the handshake and of a rekeying of everything: afterwards the same SAs carry.
func TestAdv_NET_03_PartitionAtEveryPoint(t *testing.T) {
	for at := time.Duration(0); at < 200*time.Millisecond; at += 10 * time.Millisecond {
		for _, phase := range []string{"handshake", "rekey"} {
			for direction := range 3 {
				w, tunnel := pairOf(1, patient)
				tunnel.A.Up(tunnel.Name)
				if phase == "rekey" {
					w.Run(time.Second)
					tunnel.A.Rekey(tunnel.Name)
					tunnel.B.RekeyIKE(tunnel.Name)
				}
				w.Run(at)
				if direction != 1 {
					w.Net.Cut(tunnel.A.Addr, tunnel.B.Addr)
				}
				if direction != 0 {
					w.Net.Cut(tunnel.B.Addr, tunnel.A.Addr)
				}
				w.Run(10 * time.Second)
				w.Net.Calm()
				w.Run(5 * time.Second) // the longest wait between two copies, and a little
				if err := w.Carries(tunnel); err != nil {
					report(t, w, 1, "%s after %v, direction %d: %v", phase, at, direction, err)
				}
				w.Run(2 * time.Minute)
				w.Quiet(tunnel)
				fine(t, w, 1)
			}
		}
	}
}

// A one-way partition of ten minutes, in either direction: the tunnel is back
// within liveness and retransmission.
func TestAdv_NET_04_OneWayForTenMinutes(t *testing.T) {
	for direction := range 2 {
		w, tunnel := pairOf(2, quick)
		tunnel.A.Up(tunnel.Name)
		w.Run(time.Minute)
		from, to := tunnel.A.Addr, tunnel.B.Addr
		if direction == 1 {
			from, to = to, from
		}
		w.Net.Cut(from, to)
		w.Run(10 * time.Minute)
		w.Net.Mend(from, to)
		w.Run(time.Minute)
		w.Quiet(tunnel)
		fine(t, w, 2)
	}
}

// Two clients behind one NAT, with the same kind of inner nets: both work, and
// none is mixed up with the other, whatever the box forgets.
func TestAdv_NET_09_TwoBehindOneNAT(t *testing.T) {
	for seed := range uint64(10) {
		w := New(seed)
		w.Net.IKE, w.Net.Data = Faults{Delay: 20 * time.Millisecond, Loss: 0.1}, Faults{Delay: 20 * time.Millisecond}
		one, two, east := w.Add("one", "10.9.0.5", IKEv2), w.Add("two", "10.9.0.6", IKEv2), w.Add("east", "198.51.100.2", IKEv2)
		box := w.NAT("203.0.113.1", one, two)
		natted := func(n *Node, d *connection.Description) {
			quick(n, d)
			d.Encap, d.MOBIKE = ike.Auto, true
			if n == east {
				d.DPDAction = ike.DPDClear
			}
		}
		a := w.Tunnel("a", one, east, "10.1.0.0/24", "10.3.0.0/24", natted)
		b := w.Tunnel("b", two, east, "10.2.0.0/24", "10.3.0.0/24", natted)
		one.Up("a")
		two.Up("b")
		w.Run(time.Minute)
		box.Rebind()
		w.Run(2 * time.Minute)
		w.Net.Calm()
		w.Run(2 * time.Minute)
		w.Quiet(a, b)
		fine(t, w, seed)
	}
}

// A load balancer takes us to another gateway, which knows nothing of the IKE
// SA: its hint in the clear only makes us ask, and then begin anew (NET-17).
func TestAdv_NET_17_AnotherGatewayAnswers(t *testing.T) {
	w, tunnel := pairOf(3, quick)
	tunnel.A.Up(tunnel.Name)
	w.Run(time.Minute)
	tunnel.B.Crash()
	tunnel.B.Restart()
	w.Net.Forge(tunnel.B.Addr, tunnel.A.Addr, ike.NotifyInvalidIKESPI)
	if !tunnel.Secured() && tunnel.A.secures(tunnel.Name) {
		w.Run(time.Second)
		if !tunnel.A.secures(tunnel.Name) {
			t.Error("a hint in the clear has ended the IKE SA")
		}
	}
	w.Run(2 * time.Minute)
	w.Quiet(tunnel)
	fine(t, w, 3)
}

// One datagram in ten has a flipped bit, is cut, or has grown: none is taken for
// what it was.
func TestAdv_NET_14_FlippedBits(t *testing.T) {
	flipped := 0
	for seed := range uint64(30) {
		w, tunnel := pairOf(seed, patient, shortLives)
		w.Net.IKE = Faults{Delay: 10 * time.Millisecond, Corrupt: 0.1}
		start(tunnel, int(seed%3))
		w.Run(time.Hour)
		w.Net.Calm()
		w.Run(2 * time.Minute)
		w.Quiet(tunnel)
		fine(t, w, seed) // I12
		flipped += w.Stats.Corrupted
	}
	if flipped < 100 {
		t.Errorf("only %d datagrams were changed", flipped)
	}
}

// Both gateways restart at once, with every delay between the two, and both are
// wanted up: one pair of SAs is left (CRS-08 with one of them).
func TestAdv_CRS_08_09_Restarts(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		w, tunnel := pairOf(seed, quick)
		w.Net.IKE.Loss = 0.1
		start(tunnel, 0)
		w.Run(time.Duration(10+seed%50) * time.Second)
		tunnel.A.Crash()
		if seed%4 != 0 {
			w.Run(time.Duration(seed%7) * 100 * time.Millisecond)
			tunnel.B.Crash()
		}
		w.Run(time.Duration(seed%5) * time.Second)
		tunnel.A.Restart()
		tunnel.B.Restart()
		start(tunnel, int(seed%3))
		w.Net.IKE.Loss = 0
		w.Run(4 * time.Minute)
		w.Quiet(tunnel)
		fine(t, w, seed)
	}
}

// Two gateways with equal lifetimes to the second: the spread of the initiator's
// and the responder's turns keeps simultaneous rekeyings rare.
func TestAdv_V2S_51_EqualLifetimes(t *testing.T) {
	pairs := 200
	crossed, rekeys := 0, 0
	for seed := range uint64(pairs) {
		w, tunnel := pairOf(seed, shortLives)
		tunnel.A.Up(tunnel.Name)
		w.Run(time.Hour)
		w.Quiet(tunnel)
		fine(t, w, seed)
		crossed += w.Stats.CrossedCreate
		rekeys += w.Stats.ChildRekeys/2 + w.Stats.IKERekeys/2
	}
	if rekeys < 1000 || crossed*10 > rekeys {
		t.Errorf("%d of %d rekeyings crossed another", crossed, rekeys)
	}
}

// Two Child SAs for the same selectors, because both ends began: the older may
// go at any time, by either end, and traffic goes on by the other.
func TestAdv_V2S_28_TwoChildrenOneIsDeleted(t *testing.T) {
	for who := range 2 {
		for at := time.Duration(0); at < 8*time.Second; at += 500 * time.Millisecond {
			w, tunnel := pairOf(uint64(at), quick)
			start(tunnel, 2)
			w.Run(time.Second + at)
			[]*Node{tunnel.A, tunnel.B}[who].Drop(tunnel.Name)
			w.Run(2 * time.Minute)
			w.Quiet(tunnel)
			fine(t, w, uint64(at))
		}
	}
}

// Seven days of two gateways that are taken down and up, rekeyed and probed all
// the time: what they keep does not grow.
func TestAdv_RES_21_SevenDays(t *testing.T) {
	w, tunnel := pairOf(4, quick, shortLives)
	w.Trace.Quiet = true
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	days := 7
	if testing.Short() {
		days = 2
	}
	var first, last uint64
	for day := range days {
		for range 24 {
			tunnel.A.Up(tunnel.Name)
			w.Run(25 * time.Minute)
			tunnel.B.RekeyIKE(tunnel.Name)
			w.Run(25 * time.Minute)
			tunnel.A.TakeDown(tunnel.Name)
			tunnel.B.TakeDown(tunnel.Name)
			w.Run(10 * time.Minute)
			w.Empty()
		}
		w.forget() // what the observer remembers, for its rules
		last = heap()
		if day == 0 {
			first = last
		}
	}
	fine(t, w, 4)
	t.Logf("%.1f MiB after the first day, %.1f MiB after the last; %d handshakes, %d rekeyings", float64(first)/(1<<20), float64(last)/(1<<20), w.Stats.Handshakes, w.Stats.ChildRekeys)
	if float64(last) > 1.05*float64(first) {
		t.Errorf("the heap grew from %d to %d octets", first, last)
	}
}

// Everything that two ends can do to each other, at the same time and a moment
// apart, with each of the first datagrams lost in turn: the collisions of RFC
// 7296 section 2.25 among two connections (V2S-13, V2S-15, V2S-16, V2S-17,
// V2S-18, V2S-32).
func TestCollisionsOfEverything(t *testing.T) {
	verbs := []string{"up net", "up other", "rekey net", "rekey-ike net", "down net", "down other", "drop net", "probe"}
	random := rand.New(rand.NewPCG(1, 2))
	runs, crossed := 0, 0
	for _, first := range verbs {
		for _, second := range verbs {
			for _, apart := range []string{"0ms", "5ms", "10ms", "15ms"} {
				for lose := range 4 {
					if testing.Short() && random.IntN(8) > 0 {
						continue
					}
					next := ""
					if lose > 0 {
						next = fmt.Sprintf("next west east%s lose\nnext east west%s lose\n", ok(lose-1), ok((lose+1)%3))
					}
					script := up + "tunnel other west 10.3.0.0/16 east 10.4.0.0/16\nwest up other\nrun 1s\n" + next +
						"west " + first + "\nrun " + apart + "\neast " + second + "\nrun 90s\nwest up net\neast up other\nrun 90s\nquiet net other\n" +
						"west down net\nwest down other\neast down net\neast down other\nrun 5m\nempty\n"
					w, err := RunScript(script, IKEv2)
					if err != nil || len(w.Breaches) > 0 {
						t.Errorf("%v, %v\n%s\n%s", err, w.Breaches, script, w.Trace)
						return
					}
					runs++
					crossed += w.Stats.Collisions()
				}
			}
		}
	}
	t.Logf("%d runs, %d collisions", runs, crossed)
	if crossed == 0 {
		t.Error("nothing collided")
	}
}

// ok is so many datagrams that are left alone.
func ok(n int) string {
	words := ""
	for range n {
		words += " ok"
	}
	return words
}

// A peer asks for the net of another, under its own proven identity: it is
// refused, and the other's traffic is not touched.
func TestAdv_V2S_26_AnothersNet(t *testing.T) {
	w := New(5)
	w.Net.IKE, w.Net.Data = Faults{Delay: 10 * time.Millisecond}, Faults{Delay: 10 * time.Millisecond}
	west, east, north := w.Add("west", "192.0.2.1", IKEv2), w.Add("east", "198.51.100.2", IKEv2), w.Add("north", "203.0.113.9", IKEv2)
	tunnel := w.Tunnel("net", west, east, "10.1.0.0/24", "10.2.0.0/24")
	greedy := w.Tunnel("greedy", north, east, "10.3.0.0/24", "10.2.0.0/24", func(n *Node, d *connection.Description) {
		d.Narrow, d.KeyingTries = false, 1
		if n == north {
			d.Local.TS = tunnel.ConnA.Local.TS
		}
	})
	west.Up("net")
	w.Run(time.Second)
	stream := w.Stream(tunnel, east, 10*time.Millisecond)
	north.Up("greedy")
	w.Run(time.Minute)
	stream.Stop()
	w.Run(time.Second)
	if lost, twice := stream.Lost(); len(lost)+len(twice) > 0 || !tunnel.Secured() {
		t.Errorf("west lost %d of %d packets", len(lost), stream.Sent())
	}
	if greedy.A.secures("greedy") || greedy.B.secures("greedy") {
		t.Error("north got what is west's")
	}
	failed := false
	for _, r := range north.Facts {
		if f, ok := r.Fact.(ike.Failed); ok && f.Why.Notify == ike.NotifyTSUnacceptable {
			failed = true
		}
	}
	if !failed {
		t.Errorf("north was not told\n%s", w.Trace)
	}
	fine(t, w, 5)
}

// Times that no configuration should hold: nothing spins, nothing overflows into
// the past, and the tunnel that can be there is there.
func TestAdv_CLK_06_OddTimes(t *testing.T) {
	const most = time.Duration(1<<63 - 1)
	for _, odd := range []time.Duration{0, -time.Second, time.Nanosecond, most} {
		for name, set := range map[string]func(d *connection.Description){
			"ikelife":    func(d *connection.Description) { d.IKELife = odd },
			"life":       func(d *connection.Description) { d.ChildLife = odd },
			"margin":     func(d *connection.Description) { d.RekeyMargin = odd },
			"dpd":        func(d *connection.Description) { d.DPDDelay = odd },
			"first wait": func(d *connection.Description) { d.RetransmitFirst = odd },
			"total":      func(d *connection.Description) { d.RetransmitTotal = odd },
		} {
			w, tunnel := pairOf(1, func(_ *Node, d *connection.Description) { set(d) })
			w.Trace.Quiet = true
			tunnel.A.Up(tunnel.Name)
			w.Run(10 * time.Minute)
			for _, b := range w.Breaches[:min(2, len(w.Breaches))] {
				t.Errorf("%s of %v: %v", name, odd, b)
			}
			if w.Stats.Events > 200_000 {
				t.Errorf("%s of %v: %d events in ten minutes", name, odd, w.Stats.Events)
			}
			if w.Stats.Handshakes == 0 && (name != "total" || odd >= 0) {
				t.Errorf("%s of %v: no tunnel", name, odd)
			}
		}
	}
}
