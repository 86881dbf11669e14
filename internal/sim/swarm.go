package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A swarm is many runs, each of which a seed decides altogether: how many
// gateways and tunnels, their options, which kinds of command and fault take
// part (a random half of them), and when. What it decides is a script, so that
// a run that fails can be read, cut down, and kept.

// Plan is the script of one seed.
type Plan struct {
	Seed  uint64
	Head  []string // nodes, tunnels and the wire
	Steps []string // what is done, each with its time
	Tail  []string // the end of all faults, and what must hold then
}

// Lines is the whole script.
func (p *Plan) Lines() []string { return slices.Concat(p.Head, p.Steps, p.Tail) }

// String is the script as text.
func (p *Plan) String() string { return strings.Join(p.Lines(), "\n") + "\n" }

// planner draws a plan.
type planner struct {
	*Plan
	chance  *chance
	now     time.Duration
	nodes   []string
	tunnels []planned
	kinds   []string
	nat     bool // west is behind one: only it can begin
	front   bool // there is a gateway that sends callers to east

	childless string // the same for all: which connection a caller means is not known yet
}

// planned is a tunnel of a plan.
type planned struct {
	name, a, b string
	only       string // the end that must begin; empty: either may
}

// swarmSteps is how many things are done in a run, and swarmPause how long it
// is from one to the next at most.
const (
	swarmSteps  = 40
	swarmPause  = 20 * time.Second
	swarmOutage = 60 * time.Second // the longest
)

// NewPlan draws the plan of a seed.
func NewPlan(seed uint64) *Plan {
	p := &planner{Plan: &Plan{Seed: seed}, chance: newChance(seed)}
	p.head()
	for _, k := range swarmKinds {
		if p.chance.hit(0.5, "swarm kind", k.name) {
			p.kinds = append(p.kinds, k.name)
		}
	}
	for range swarmSteps {
		if len(p.kinds) > 0 {
			p.act()
		}
		p.now += p.upTo("pause", swarmPause)
	}
	// What ends an outage was planned out of turn.
	slices.SortStableFunc(p.Steps, func(a, b string) int { return cmp.Compare(stepTime(a), stepTime(b)) })
	p.tail()
	return p.Plan
}

func stepTime(line string) time.Duration {
	d, _ := time.ParseDuration(strings.Fields(line)[1])
	return d
}

// pick is a number below n.
func (p *planner) pick(what string, n int) int { return int(p.chance.draw("swarm", what) * float64(n)) }

// upTo is a time below d, in whole milliseconds.
func (p *planner) upTo(what string, d time.Duration) time.Duration {
	return time.Duration(p.pick(what, int(d/time.Millisecond))) * time.Millisecond
}

func one[T any](p *planner, what string, list ...T) T { return list[p.pick(what, len(list))] }

func (p *planner) do(at time.Duration, format string, args ...any) {
	p.Steps = append(p.Steps, fmt.Sprintf("at %s ", at)+fmt.Sprintf(format, args...))
}

// head makes the network.
func (p *planner) head() {
	h := []string{fmt.Sprintf("seed %d", p.Seed), "node west 192.0.2.1", "node east 198.51.100.2"}
	p.nodes = []string{"west", "east"}
	if p.pick("third", 4) == 0 {
		h = append(h, "node north 203.0.113.9")
		p.nodes = append(p.nodes, "north")
	}
	if p.nat = p.pick("nat", 5) == 0; p.nat {
		h = append(h, "nat 203.0.113.1 west")
	}
	fragment := one(p, "fragment", 0, 256, 400)
	ike := one(p, "ike", "", "ike=aes128gcm16-prfsha256-x25519-ke1_mlkem768", "ike=aes128gcm16-prfsha256-x25519-ke1_mlkem768,aes128gcm16-prfsha256-x25519")
	link := fmt.Sprintf("link delay=10ms jitter=50ms loss=%.3f twice=%.3f late=%.3f corrupt=%.3f",
		0.3*p.chance.draw("swarm", "loss"), 0.1*p.chance.draw("swarm", "twice"), 0.1*p.chance.draw("swarm", "late"), 0.1*p.chance.draw("swarm", "corrupt"))
	if fragment == 400 && p.pick("mtu", 2) == 0 {
		link += " mtu=400" // IKE_SA_INIT, which has no fragments, is shorter
	}
	h = append(h, link, fmt.Sprintf("data delay=10ms jitter=5ms twice=%.3f", one(p, "data", 0, 0.1)))
	if p.front = p.pick("front", 8) == 0; p.front {
		h = append(h, "node front 203.0.113.77", "gateway front redirect=east")
	}
	p.childless = one(p, "childless", "", "childless=prefer", "childless=never", "childless=force")
	for i := range 1 + p.pick("tunnels", 3) {
		h = append(h, p.tunnel(i, ike, fragment)...)
	}
	if p.pick("tokens", 2) == 0 { // a token is given for a token
		for _, n := range p.nodes {
			h = append(h, "gateway "+n+" tokens=yes")
		}
	}
	p.Head = h
}

// swarmKinds are what may happen.
var swarmKinds = []struct {
	name string
	do   func(p *planner, node string, t planned)
}{
	{"up", func(p *planner, n string, t planned) { p.do(p.now, "%s up %s", p.begins(n, t), t.name) }},
	{"route", func(p *planner, n string, t planned) { p.do(p.now, "%s route %s", p.begins(n, t), t.name) }},
	{"down", func(p *planner, n string, t planned) { p.do(p.now, "%s down %s", n, t.name) }},
	{"rekey", func(p *planner, n string, t planned) { p.do(p.now, "%s rekey %s", n, t.name) }},
	{"rekey-ike", func(p *planner, n string, t planned) { p.do(p.now, "%s rekey-ike %s", n, t.name) }},
	{"both-rekey", (*planner).bothRekey},
	{"drop", func(p *planner, n string, t planned) { p.do(p.now, "%s drop %s", n, t.name) }},
	{"probe", func(p *planner, n string, _ planned) { p.do(p.now, "%s probe", n) }},
	{"ping", func(p *planner, n string, t planned) { p.do(p.now, "%s ping %s", n, t.name) }},
	{"stream", (*planner).burst},
	{"storm", (*planner).storm},
	{"crash", func(p *planner, n string, _ planned) {
		p.do(p.now, "%s crash", n)
		p.do(p.now+p.upTo("outage", swarmOutage), "%s start", n)
	}},
	{"flush", func(p *planner, n string, _ planned) { p.do(p.now, "%s flush", n) }},
	{"cut", (*planner).cut},
	{"suspend", func(p *planner, n string, _ planned) { p.do(p.now, "%s suspend %s", n, p.upTo("outage", swarmOutage)) }},
	{"leap", func(p *planner, n string, _ planned) { p.do(p.now, "%s leap %s", n, p.upTo("leap", 2*time.Hour)) }},
	{"wall", func(p *planner, n string, _ planned) {
		p.do(p.now, "%s wall %s", n, one(p, "wall", "1h", "-1h", "1s", "175200h", "-175200h", "1970-01-01T00:00:00Z"))
	}},
	{"move", (*planner).move},
	{"rebind", func(p *planner, _ string, _ planned) { p.do(p.now, "rebind") }},
	{"replay", func(p *planner, n string, t planned) { p.do(p.now, "replay %s %s", n, t.other(n)) }},
	{"forge", func(p *planner, n string, t planned) {
		kinds := make([]string, 0, len(forgeries))
		for k := range forgeries {
			kinds = append(kinds, k)
		}
		slices.Sort(kinds)
		p.do(p.now, "forge %s %s %s", n, t.other(n), one(p, "forgery", kinds...))
	}},
	{"rekey-storm", func(p *planner, n string, t planned) {
		for i := range 8 {
			p.do(p.now+time.Duration(i)*50*time.Millisecond, "%s %s %s", n, one(p, "storm", "rekey", "rekey-ike"), t.name)
		}
	}},
	{"delete-storm", func(p *planner, n string, t planned) {
		for i := range 4 {
			p.do(p.now+time.Duration(i)*100*time.Millisecond, "%s drop %s", one(p, "storm", t.a, t.b), t.name)
		}
	}},
}

// act does something of a kind that takes part, at one end of a tunnel.
func (p *planner) act() {
	t := p.tunnels[p.pick("tunnel", len(p.tunnels))]
	n := one(p, "node", t.a, t.b)
	kind := p.kinds[p.pick("kind", len(p.kinds))]
	for _, k := range swarmKinds {
		if k.name == kind {
			k.do(p, n, t)
		}
	}
}

func (t planned) other(n string) string {
	if n == t.a {
		return t.b
	}
	return t.a
}

// begins is who can begin at all.
func (p *planner) begins(n string, t planned) string { return cmp.Or(t.only, n) }

func (p *planner) bothRekey(_ string, t planned) {
	for _, verb := range []string{"rekey", "rekey-ike"} {
		for _, n := range []string{t.a, t.b} {
			p.do(p.now, "%s %s %s", n, verb, t.name)
		}
	}
}

func (p *planner) storm(string, planned) {
	for _, t := range p.tunnels {
		p.do(p.now, "%s up %s", t.a, t.name)
		if t.only == "" {
			p.do(p.now, "%s up %s", t.b, t.name)
		}
	}
}

// burst is some packets in both directions.
func (p *planner) burst(_ string, t planned) {
	p.do(p.now, "%s burst %s", t.a, t.name)
	p.do(p.now, "%s burst %s", t.b, t.name)
}

func (p *planner) cut(n string, t planned) {
	until, both := p.now+p.upTo("outage", swarmOutage), p.pick("both", 2) == 0
	p.do(p.now, "cut %s %s", n, t.other(n))
	p.do(until, "mend %s %s", n, t.other(n))
	if both {
		p.do(p.now, "cut %s %s", t.other(n), n)
		p.do(until, "mend %s %s", t.other(n), n)
	}
}

// move takes west elsewhere for a while.
func (p *planner) move(string, planned) {
	if p.nat {
		return
	}
	p.do(p.now, "west move 192.0.2.77")
	p.do(p.now+p.upTo("outage", swarmOutage), "west move 192.0.2.1")
}

// tail ends everything that is wrong, wants every tunnel, and checks.
func (p *planner) tail() {
	at := p.now + swarmOutage + time.Second
	if len(p.Steps) > 0 {
		at = max(at, stepTime(p.Steps[len(p.Steps)-1])+swarmOutage)
	}
	add := func(format string, args ...any) { p.Tail = append(p.Tail, fmt.Sprintf(format, args...)) }
	add("at %s calm", at)
	for _, n := range p.nodes {
		add("%s start", n)
	}
	if !p.nat {
		add("west move 192.0.2.1")
	}
	add("run 2m")
	names := make([]string, len(p.tunnels))
	for i, t := range p.tunnels {
		// Each is wanted now, by one end; a tunnel that is up stays so.
		add("%s up %s", p.begins([]string{t.a, t.b}[i%2], t), t.name)
		names[i] = t.name
	}
	add("run 8m")
	add("quiet %s", strings.Join(names, " "))
	if p.pick("empty", 4) > 0 {
		return
	}
	for _, t := range p.tunnels {
		add("%s down %s", t.a, t.name)
		add("%s down %s", t.b, t.name)
	}
	add("run 5m")
	add("empty")
}

// Outcome is what became of a run.
type Outcome struct {
	World *World
	Err   error // of the script itself
}

// Failed is the first breach, or nil.
func (o Outcome) Failed() *Breach {
	if len(o.World.Breaches) == 0 {
		return nil
	}
	return &o.World.Breaches[0]
}

// Run runs a script. Without a trace it is faster, and has statistics and
// breaches only.
func Run(lines []string, trace bool) Outcome {
	s := &Script{world: New(1), engine: IKEv2}
	s.world.Trace.Quiet = !trace
	s.checks = true
	err := s.Run(lines)
	return Outcome{s.world, err}
}
