package firewall

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"cygnet/internal/ipsec"
)

// ruleset is the content of our table, as the kernel will get it.
type ruleset struct {
	sets   []set
	chains []chain
	marks  bool // packets are marked: foreign forward chains must accept the mark
}

// set is a named set. Its elements may change without the rules that use it.
type set struct {
	name     string
	key      []nftables.SetDatatype // one type, or several: ranges of each
	elements []nftables.SetElement  // sorted by key
}

type chain struct {
	name  string
	kind  nftables.ChainType
	hook  nftables.ChainHook
	prio  nftables.ChainPriority
	rules []rule
}

// rule is one rule. Those of the same name are counted together.
type rule struct {
	name  string
	exprs []expr.Any
}

// Our chains, and where they stand. Clear packets are judged before connection
// tracking and NAT, so that they are compared as they are on the wire; what
// leaves, before its source is changed. Our NAT chain is asked before others:
// the first that binds a connection decides.
var (
	inboundChain  = chain{name: "inbound", kind: nftables.ChainTypeFilter, hook: *nftables.ChainHookPrerouting, prio: *nftables.ChainPriorityRaw}
	outboundChain = chain{name: "outbound", kind: nftables.ChainTypeFilter, hook: *nftables.ChainHookPostrouting, prio: *nftables.ChainPriorityMangle}
	forwardChain  = chain{name: "forward", kind: nftables.ChainTypeFilter, hook: *nftables.ChainHookForward, prio: *nftables.ChainPriorityMangle}
	natChain      = chain{name: "nat", kind: nftables.ChainTypeNAT, hook: *nftables.ChainHookPostrouting, prio: *nftables.ChainPriorityNATSource - 1}
	clampInChain  = chain{name: "clamp-in", kind: nftables.ChainTypeFilter, hook: *nftables.ChainHookPrerouting, prio: *nftables.ChainPriorityMangle}
	clampOutChain = chain{name: "clamp-out", kind: nftables.ChainTypeFilter, hook: *nftables.ChainHookPostrouting, prio: *nftables.ChainPriorityMangle}

	// These two are filled by Open and emptied by Shut, never by Set.
	scriptsChain    = chain{name: "scripts", kind: nftables.ChainTypeFilter, hook: *nftables.ChainHookForward, prio: *nftables.ChainPriorityMangle + 1}
	scriptsNATChain = chain{name: "scripts-nat", kind: nftables.ChainTypeNAT, hook: *nftables.ChainHookPostrouting, prio: *nftables.ChainPriorityNATSource - 2}
)

const devicesSet = "devices"

// Values of boxes in policies.
const (
	pass = 0
	drop = 1
)

// render works out the table for a desired state.
func render(want State, o Options) ruleset {
	var rs ruleset
	rs.devices(want.Devices)
	rs.inbound(want.Inbound, o)
	rs.outbound(want.Outbound, o)
	rs.forward(want.Forward, o)
	rs.clamp(want.Clamp)
	if len(rs.chains) == 0 {
		return ruleset{}
	}
	return rs
}

func (rs *ruleset) devices(names []string) {
	s := set{name: devicesSet, key: []nftables.SetDatatype{nftables.TypeIFName}}
	for _, n := range slices.Compact(slices.Sorted(slices.Values(names))) {
		s.elements = append(s.elements, nftables.SetElement{Key: ifName(n)})
	}
	rs.sets = append(rs.sets, s)
}

func (rs *ruleset) chain(c chain, rules []rule) {
	c.rules = rules
	rs.chains = append(rs.chains, c)
}

// inbound judges what arrives in the clear (freeswan.md 5.7 and V10, RFC 4301
// section 5.2 step 3a).
func (rs *ruleset) inbound(list []Policy, o Options) {
	if len(list) == 0 {
		return
	}
	rules := []rule{
		{"", join(inDevices(comesBy), accept())},
		{"", join(loopback(comesBy), accept())},
	}
	rules = append(rules, ours(o, true)...)
	for i, l := range layers(boxes(list, true)) {
		k := rs.lookup(fmt.Sprintf("inbound-%d", i), l, comesBy)
		switch {
		case l.value == pass:
			rules = append(rules, rule{"", join(k, accept())})
		case l.device || l.only != "":
			rules = append(rules, rule{CountInbound, join(k, counted(), dropped())})
		default:
			rules = append(rules, rule{CountInbound, join(k, answerByUs(), counted(), dropped())})
		}
	}
	rs.chain(inboundChain, rules)
}

// outbound judges what is about to leave by a device that is not ours.
func (rs *ruleset) outbound(list []Policy, o Options) {
	if len(list) == 0 {
		return
	}
	rules := []rule{
		{"", join(inDevices(goesBy), accept())},
		{"", join(loopback(goesBy), accept())},
	}
	rules = append(rules, ours(o, false)...)
	for i, l := range layers(boxes(list, false)) {
		k := rs.lookup(fmt.Sprintf("outbound-%d", i), l, goesBy)
		if l.value == pass {
			rules = append(rules, rule{"", join(k, accept())})
		} else {
			rules = append(rules, rule{CountOutbound, join(k, counted(), dropped())})
		}
	}
	rs.chain(outboundChain, rules)
}

func boxes(list []Policy, reverse bool) []box {
	var out []box
	for _, p := range list {
		b := box{Selector: p.Selector, device: p.Device, value: pass}
		if reverse {
			b.Selector = p.Reverse()
		}
		if p.Drop {
			b.value = drop
		}
		out = append(out, b)
	}
	return out
}

// forward marks what leftfirewall=yes opens, and binds its connections to the
// addresses that they have, so that no NAT rule after ours gets them.
func (rs *ruleset) forward(pairs []Pair, o Options) {
	if len(pairs) == 0 {
		return
	}
	rs.marks = true
	var out, in []box
	for _, p := range sorted(pairs) {
		out = append(out, box{Selector: ipsec.Selector{Src: p.Local, Dst: p.Remote}, device: p.Device})
		in = append(in, box{Selector: ipsec.Selector{Src: p.Remote, Dst: p.Local}, device: p.Device})
	}
	var mark, nat []rule
	for i, l := range layers(out) {
		k := rs.lookup(fmt.Sprintf("forward-out-%d", i), l, goesBy)
		mark = append(mark, rule{CountForward, join(k, counted(), setMark(o.Mark))})
		nat = append(nat, rule{CountNoNAT, join(k, counted(), keepSource(l.v6))})
	}
	for i, l := range layers(in) {
		k := rs.lookup(fmt.Sprintf("forward-in-%d", i), l, comesBy)
		mark = append(mark, rule{CountForward, join(k, counted(), setMark(o.Mark))})
	}
	for _, v6 := range []bool{false, true} {
		nat = append(nat, rule{CountNoNAT, join(family(v6), hasMark(o.Mark), counted(), keepSource(v6))})
	}
	rs.chain(forwardChain, mark)
	rs.chain(natChain, nat)
}

func sorted(pairs []Pair) []Pair {
	return slices.Compact(slices.SortedFunc(slices.Values(pairs), func(a, b Pair) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), a.Local.Addr().Compare(b.Local.Addr()), cmp.Compare(a.Local.Bits(), b.Local.Bits()),
			a.Remote.Addr().Compare(b.Remote.Addr()), cmp.Compare(a.Remote.Bits(), b.Remote.Bits()))
	}))
}

// clamp lowers the MSS in SYN packets. A size is for both directions; the MTU
// of a route is known only of packets that we send.
func (rs *ruleset) clamp(list []Clamp) {
	var out, in []box
	for _, c := range list {
		out = append(out, box{Selector: ipsec.Selector{Src: c.Local, Dst: c.Remote}, device: c.Device, value: uint32(c.Size)})
		in = append(in, box{Selector: ipsec.Selector{Src: c.Remote, Dst: c.Local}, device: c.Device, value: uint32(c.Size)})
	}
	var outRules, inRules []rule
	for i, l := range layers(out) {
		k := rs.lookup(fmt.Sprintf("clamp-out-%d", i), l, goesBy)
		outRules = append(outRules, rule{CountClamp, join(tcpSYN(), k, lowerMSS(l.value))}, rule{"", join(k, accept())})
	}
	for i, l := range layers(in) {
		k := rs.lookup(fmt.Sprintf("clamp-in-%d", i), l, comesBy)
		if l.value != 0 {
			inRules = append(inRules, rule{CountClamp, join(tcpSYN(), k, lowerMSS(l.value))})
		}
		inRules = append(inRules, rule{"", join(k, accept())})
	}
	if len(outRules) > 0 {
		rs.chain(clampOutChain, outRules)
		rs.chain(clampInChain, inRules)
	}
}

// lookup adds the set of a layer and returns the match of a packet with it.
func (rs *ruleset) lookup(name string, l layer, device deviceKey) []expr.Any {
	k := l.key(device)
	s := set{name: name, key: k.types}
	for _, b := range l.boxes {
		s.elements = append(s.elements, b.element())
	}
	slices.SortFunc(s.elements, func(a, b nftables.SetElement) int {
		return cmp.Or(bytes.Compare(a.Key, b.Key), bytes.Compare(a.KeyEnd, b.KeyEnd))
	})
	rs.sets = append(rs.sets, s)
	return join(family(l.v6), onlyDevice(device, l.only), k.load, []expr.Any{&expr.Lookup{SourceRegister: firstWord, SetName: name}})
}
