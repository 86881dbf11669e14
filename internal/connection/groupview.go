package connection

import (
	"fmt"
	"net/netip"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
)

// GroupView is what a Table shows of a policy group.
type GroupView struct {
	Name    string
	Mode    string       // what oe= comes to: yes, responder, no
	Without ipsec.Action // what its packets meet when there is no tunnel
	Sources []netip.Prefix
	Entries int
}

// Groups lists the policy groups.
func (t *Table) Groups() []GroupView {
	var list []GroupView
	for _, g := range t.oe.List {
		v := GroupView{Name: g.Name, Without: g.Plain, Sources: g.Sources, Entries: len(g.Entries)}
		if g.Opportunistic() {
			v.Mode = modeWord(t.modeOf(g))
			v.Without = g.Failure
		}
		list = append(list, v)
	}
	return list
}

func modeWord(m config.OEMode) string {
	switch m {
	case config.OEYes:
		return "yes"
	case config.OEResponder:
		return "responder"
	}
	return "no"
}

// FlowView is one flow.
type FlowView struct {
	Src, Dst netip.Addr
	Rule     string
	State    FlowState
	Since    time.Time
	Level    oe.Level   // of Encrypted
	Gateway  netip.Addr // of Encrypted
	Owner    string     // the connection, of Encrypted
	Cause    Cause      // of Clear and Denied
	Why      string
}

// Flows lists the flows in the order of their selectors.
func (t *Table) Flows() []FlowView {
	var list []FlowView
	for _, f := range t.flowList() {
		v := FlowView{Src: f.src(), Dst: f.dst(), Rule: f.rule.name, State: f.state, Since: f.since}
		if f.conn != nil {
			v.Level, v.Gateway, v.Owner = f.level, f.conn.Remote.Addr, f.conn.key().owner()
		}
		if f.settled() {
			v.Cause, v.Why = f.failed.kind, f.failed.why
		}
		list = append(list, v)
	}
	return list
}

// Opportunity returns the counts of opportunistic encryption.
func (t *Table) Opportunity() Opportunity { return t.oe.count }

// Explanation is what decides about a packet.
type Explanation struct{ Rule, Selector, Action, Why string }

// Explain says which rule or connection decides about a packet, and why
// (opportunistic.md 2.4).
func (t *Table) Explain(f ipsec.Flow) Explanation {
	var best *ipsec.Policy
	for i := range t.spd.list {
		p := &t.spd.list[i]
		if p.Selector.Contains(f) && (best == nil || moreSpecific(p.Selector, best.Selector)) {
			best = p
		}
	}
	if best == nil {
		return Explanation{Action: "%pass", Why: "no policy is about it: it is routed as if there were no IPsec"}
	}
	return Explanation{Rule: best.Owner, Selector: best.Selector.String(), Action: best.Action.String(),
		Why: fmt.Sprintf("source /%d, destination /%d are the longest that match", best.Selector.Src.Bits(), best.Selector.Dst.Bits())}
}
