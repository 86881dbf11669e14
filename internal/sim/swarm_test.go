package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/suite"
)

// swarm is a run of which the seed decides everything: how many tunnels, their
// options, which kinds of command and fault take part (a random half of them),
// and when.
type swarm struct {
	w       *World
	tunnels []*Tunnel
	kinds   []string
	hybrid  bool // ML-KEM-768 after X25519
	cut     int  // fragments of that size; 0: the default
}

var swarmKinds = []string{"up", "route", "down", "rekey", "rekey-ike", "probe", "ping", "crash", "cut", "both-rekey", "storm"}

func newSwarm(seed uint64) *swarm {
	s := &swarm{w: New(seed)}
	c := s.w.chance
	s.w.Net.IKE = Faults{Delay: 10 * time.Millisecond, Jitter: 50 * time.Millisecond,
		Loss: 0.3 * c.draw("swarm loss", ""), Double: 0.1 * c.draw("swarm double", ""),
		Late: 0.1 * c.draw("swarm late", ""), Corrupt: 0.1 * c.draw("swarm corrupt", "")}
	s.w.Net.Data = Faults{Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond}
	s.hybrid, s.cut = s.pick("hybrid", 2) == 0, 256*s.pick("fragments", 2)
	west, east := s.w.Add("west", "192.0.2.1", IKEv2), s.w.Add("east", "198.51.100.2", IKEv2)
	for i := range 1 + s.pick("tunnels", 3) {
		name := fmt.Sprintf("net%d", i)
		s.tunnels = append(s.tunnels, s.w.Tunnel(name, west, east, fmt.Sprintf("10.1.%d.0/24", i), fmt.Sprintf("10.2.%d.0/24", i), s.options()))
	}
	for _, k := range swarmKinds {
		if c.hit(0.5, "swarm kind", k) {
			s.kinds = append(s.kinds, k)
		}
	}
	return s
}

// pick is a number below n.
func (s *swarm) pick(what string, n int) int { return int(s.w.chance.draw("swarm", what) * float64(n)) }

// options decides how both ends of a tunnel are configured.
func (s *swarm) options() func(*Node, *connection.Description) {
	pfs, short := s.pick("pfs", 2) == 0, s.pick("lives", 2) == 0
	return func(n *Node, d *connection.Description) {
		d.KeyingTries, d.FragmentSize = 0, s.cut
		if s.hybrid {
			d.IKE = hybridProposals
		}
		d.DPDDelay, d.DPDAction = 20*time.Second, ike.DPDRestart
		d.RetransmitTotal = 30 * time.Second
		if d.PFS = pfs; !pfs {
			d.ESP = noPFS(d.ESP)
		}
		if short {
			shortLives(n, d)
		}
	}
}

var hybridProposals = mustParse(suite.ParseIKE("aes128gcm16-prfsha256-x25519-ke1_mlkem768"))

// act does something of a kind that takes part.
func (s *swarm) act() {
	n, t := s.w.nodes[s.pick("node", 2)], s.tunnels[s.pick("tunnel", len(s.tunnels))]
	switch kind := s.kinds[s.pick("kind", len(s.kinds))]; {
	case n.Down:
	case kind == "up":
		n.Up(t.Name)
	case kind == "route":
		n.Route(t.Name)
	case kind == "down":
		n.TakeDown(t.Name)
	case kind == "rekey":
		n.Rekey(t.Name)
	case kind == "both-rekey":
		t.A.Rekey(t.Name)
		t.B.Rekey(t.Name)
		t.A.RekeyIKE(t.Name)
		t.B.RekeyIKE(t.Name)
	case kind == "rekey-ike":
		n.RekeyIKE(t.Name)
	case kind == "probe":
		n.Probe()
	case kind == "ping":
		n.Ping(t.flowOf(n))
	case kind == "storm":
		for _, t := range s.tunnels {
			t.A.Up(t.Name)
			t.B.Up(t.Name)
		}
	case kind == "crash":
		n.Crash()
		s.w.after(time.Duration(s.pick("outage", 60))*time.Second, classCommand, n.Restart)
	case kind == "cut":
		peer := t.other(n)
		s.w.Net.Cut(n.Addr, peer.Addr)
		s.w.after(time.Duration(s.pick("outage", 60))*time.Second, classCommand, func() { s.w.Net.Mend(n.Addr, peer.Addr) })
	}
}

func (s *swarm) run() {
	for range 40 {
		if len(s.kinds) > 0 {
			s.act()
		}
		s.w.Run(time.Duration(s.pick("pause", 20000)) * time.Millisecond)
	}
	s.w.Run(time.Minute) // restarts and mends
	s.w.Net.Calm()
	s.w.Run(2 * time.Minute)
	for i, t := range s.tunnels {
		// Each is wanted now, by one end; a tunnel that is up stays so.
		[]*Node{t.A, t.B}[i%2].Up(t.Name)
	}
	s.w.Run(8 * time.Minute)
}

// Whatever was done and whatever went wrong, afterwards what is wanted works
// and nothing is left over.
func TestSwarm(t *testing.T) {
	seeds := uint64(200)
	if testing.Short() {
		seeds = 30
	}
	var total Stats
	bad := 0
	for seed := range seeds {
		s := newSwarm(seed)
		s.run()
		s.w.Quiet(s.tunnels...)
		total = total.plus(s.w.Stats)
		if len(s.w.Breaches) > 0 {
			report(t, s.w, seed, "kinds %v: %d breaches, first %v", s.kinds, len(s.w.Breaches), s.w.Breaches[0])
			if bad++; bad == 5 {
				break
			}
		}
	}
	t.Logf("%d seeds, %+v", seeds, total)
}

// One seed in ten is run twice (I15).
func TestSwarmRepeats(t *testing.T) {
	for seed := uint64(0); seed < 100; seed += 10 {
		a, b := newSwarm(seed), newSwarm(seed)
		a.run()
		b.run()
		if a.w.Trace.Hash() != b.w.Trace.Hash() || !slices.Equal(a.kinds, b.kinds) {
			t.Errorf("seed %d: two histories", seed)
		}
	}
}
