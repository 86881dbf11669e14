package ikev2

import (
	"errors"
	"testing"
	"time"

	"cygnet/internal/ike"
)

// byJobs brings a pair up one job at a time; run returns false to have a job done as
// ever.
func (p *pair) byJobs(run func(n *node, j heldJob) bool) {
	p.west.holdJobs, p.east.holdJobs = true, true
	p.west.initiate()
	for p.busy() {
		p.settle()
		for _, n := range []*node{p.west, p.east} {
			if len(n.jobs) == 0 {
				continue
			}
			if j := n.jobs[0]; run(n, j) {
				n.jobs = n.jobs[1:]
				continue
			}
			n.workOnce()
		}
	}
	p.west.holdJobs, p.east.holdJobs = false, false
}

// proofs is what the check of AUTH comes to at each end, by name.
func proofs(t *testing.T) map[string]any {
	list := map[string]any{}
	newPair(t, 14).byJobs(func(n *node, j heldJob) bool {
		if _, ok := j.Job.(ike.Verify); ok {
			v, err := j.Job.Run(ike.Env{Rand: n.cfg.Rand, Keys: &n.keyring})
			if err != nil {
				t.Fatal(err)
			}
			list[n.name] = v
		}
		return false
	})
	return list
}

// CRY-14: of what a check of AUTH may come back with, only the proof of the very
// peer is a yes. A mistake in the code that checks - an error where a no is due, a
// bool, a result that nobody filled in - ends the exchange as a no does, at either
// end; and a proof beside an error is none.
func TestAdv_CRY_14_OnlyAProofIsYes(t *testing.T) {
	proof := proofs(t)
	for _, ends := range [][2]string{{"west", "east"}, {"east", "west"}} {
		who, peer := ends[0], ends[1]
		for _, c := range []struct {
			name   string
			result any
			err    error
			up     bool
		}{
			{name: "the proof", result: proof[who], up: true},
			{name: "nothing"},
			{name: "the zero value", result: ike.Verified{}},
			{name: "a description", result: ike.Verified{How: "PSK"}},
			{name: "true", result: true},
			{name: "an error as result", result: errors.New("does not verify")},
			{name: "a pointer", result: &ike.Verified{How: "PSK"}},
			{name: "no", err: errors.New("does not verify")},
			{name: "a proof and an error", result: proof[who], err: errors.New("does not verify")},
			{name: "a proof of another", result: proof[peer]},
		} {
			t.Run(who+" "+c.name, func(t *testing.T) {
				p := newPair(t, 15)
				at, answered := p.node(who), false
				p.byJobs(func(n *node, j heldJob) bool {
					if _, ok := j.Job.(ike.Verify); n != at || !ok {
						return false
					}
					answered = true
					n.step(j.m, ike.JobDone{ID: j.ID, Result: c.result, Err: c.err})
					return true
				})
				if !answered {
					t.Fatal("nothing was to be verified")
				}
				if up := len(facts[ike.ChildUp](at)) > 0; up != c.up || len(at.plane) > 0 != c.up {
					t.Errorf("up is %t, with %d SAs", up, len(at.plane))
				}
				if c.up {
					p.check(1)
					return
				}
				p.pass(2 * time.Minute)
				p.nothing()
			})
		}
	}
}

func (p *pair) node(name string) *node {
	if name == p.west.name {
		return p.west
	}
	return p.east
}
