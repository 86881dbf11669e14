package pluto

import (
	"cmp"
	"slices"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/metrics"
)

// tally counts what has happened since the start, for the metrics. It has a fixed
// size but for carriers, which are as many as Child SAs.
type tally struct {
	established, failed, lost      map[label]float64
	retransmits, unsent, contained float64
	names                          metrics.Names
	carried                        map[string]octets // by connection label, of SAs that are gone
	carriers                       map[ipsec.SAID]carrier
}

// label is what a count is kept by: "ike" or "child", and how or why.
type label [2]string

type octets struct{ in, out float64 }

// carrier is an SA whose octets count for a connection.
type carrier struct {
	conn string // its label
	out  bool
}

func newTally() tally {
	return tally{established: map[label]float64{}, failed: map[label]float64{}, lost: map[label]float64{},
		carried: map[string]octets{}, carriers: map[ipsec.SAID]carrier{}}
}

// count takes note of a fact.
func (t *tally) count(r ike.Report) {
	switch f := r.Fact.(type) {
	case ike.IKEUp:
		t.established[label{"ike", how(f.Rekeyed)}]++
	case ike.ChildUp:
		t.established[label{"child", how(f.Rekeyed)}]++
		if r.Conn != nil {
			name := t.names.Label(r.Conn.Name)
			t.carriers[f.In], t.carriers[f.Out] = carrier{name, false}, carrier{name, true}
		}
	case ike.IKEDown:
		if f.Why != nil && !f.Rekeyed {
			t.lost[label{"ike", f.Why.Reason.String()}]++
		}
	case ike.ChildDown:
		if f.Why != nil && !f.Replaced {
			t.lost[label{"child", f.Why.Reason.String()}]++
		}
	case ike.Failed:
		reason := ike.ReasonOther
		if f.Why != nil {
			reason = f.Why.Reason
		}
		what := "ike"
		if f.Child {
			what = "child"
		}
		t.failed[label{what, reason.String()}]++
	case ike.Retransmit:
		t.retransmits++
	}
}

func how(rekeyed uint32) string {
	if rekeyed != 0 {
		return "rekey"
	}
	return "new"
}

// gone adds what an SA that is about to go has carried to what its connection has.
func (t *tally) gone(id ipsec.SAID, usage func(ipsec.SAID) ipsec.Usage) {
	c, ok := t.carriers[id]
	if !ok {
		return
	}
	delete(t.carriers, id)
	t.carried[c.conn] = t.carried[c.conn].with(c, usage(id))
}

func (o octets) with(c carrier, u ipsec.Usage) octets {
	if c.out {
		o.out += float64(u.Bytes)
	} else {
		o.in += float64(u.Bytes)
	}
	return o
}

// octets is what each connection has carried until now.
func (t *tally) octets(usage func(ipsec.SAID) ipsec.Usage) map[string]octets {
	sum := map[string]octets{}
	for name, o := range t.carried {
		sum[name] = o
	}
	for id, c := range t.carriers {
		sum[c.conn] = sum[c.conn].with(c, usage(id))
	}
	return sum
}

// figures lists counts by label.
func figures(counts map[label]float64) []metrics.Value {
	var list []metrics.Value
	for l, n := range counts {
		list = append(list, metrics.Value{Labels: []string{l[0], l[1]}, Value: n})
	}
	slices.SortFunc(list, func(a, b metrics.Value) int { return slices.Compare(a.Labels, b.Labels) })
	return list
}

// byName sorts connections as Sample wants them.
func byName(a, b metrics.Connection) int {
	return cmp.Or(rank(a.Name)-rank(b.Name), cmp.Compare(a.Name, b.Name))
}

func rank(name string) int {
	if name == metrics.Other {
		return 1
	}
	return 0
}
