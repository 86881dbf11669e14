package sim

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Script is a scenario in words, one command to a line; # begins a comment.
//
//	seed N                      what chance does (default 1)
//	node NAME ADDRESS           a gateway
//	nat ADDRESS NODE...         a NAT with that outside address before nodes
//	rebind                      all NATs forget their mappings
//	link FAULT...               of IKE datagrams: delay=10ms jitter=5ms loss=0.3 twice=0.1 late=0.1 corrupt=0.1 mtu=600
//	data FAULT...               of other packets: delay jitter loss twice
//	tunnel NAME A NET B NET [KEY=VALUE...]
//	                            a connection of both, with options (script_tunnel.go) [A.KEY=VALUE for one end]
//	gateway NODE KEY=VALUE...   what holds for all that it does: tokens=yes, redirect=NODE
//	pool NODE PREFIX            what it gives addresses from
//	secret NODE PEER TEXT       another shared secret at NODE
//	NODE up|route|down|rekey|rekey-ike TUNNEL
//	NODE drop TUNNEL            deletes the newest Child SA without a word to its own connections
//	NODE probe|crash|start
//	NODE flush                  its data plane loses all SAs
//	NODE move ADDRESS           it has another address from now on
//	NODE wall TIME|DATE         its time of day is set so much ahead or back / to a date (RFC 3339)
//	NODE suspend|leap TIME      it stands still with its clock / its clock runs ahead
//	NODE ping TUNNEL            one packet from NODE's side
//	NODE burst TUNNEL           twenty, in five seconds
//	next A B FATE...            of the next datagrams from A to B: ok lose twice late corrupt
//	cut A B / mend A B          one direction of the wire
//	replay A B                  what A has sent to B lately, once more
//	forge A B KIND              B's last datagram to A is answered in A's name, in the clear: invalid-ike-spi ...
//	calm                        ends all faults
//	stream TUNNEL NODE EVERY    traffic from NODE's side / stop, which reports what was lost
//	run TIME                    lets time pass
//	expect secured|carries|nothing TUNNEL
//	quiet [TUNNEL...]           checks what must hold after faults
//	empty                       checks that nothing is left
//	at TIME COMMAND...          lets time pass until then, counted from the start, and does it
type Script struct {
	world   *World
	engine  func(*Node) Engine
	streams []*Stream
	checks  bool // what quiet and empty find is in World.Breaches only
}

// RunScript runs the commands of text in a new World, which it returns also
// together with an error.
func RunScript(text string, engine func(*Node) Engine) (*World, error) {
	s := &Script{world: New(1), engine: engine}
	return s.world, s.Run(strings.Split(text, "\n"))
}

// Run does one command after another, up to the first that is wrong.
func (s *Script) Run(lines []string) error {
	for i, line := range lines {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := s.command(words); err != nil {
			return fmt.Errorf("line %d: %s: %w", i+1, strings.Join(words, " "), err)
		}
	}
	return nil
}

// commands of the world; those of nodes are in nodeCommand.
var scriptCommands = map[string]struct {
	args int // at least
	do   func(*Script, []string) error
}{
	"seed":    {1, (*Script).seed},
	"node":    {2, (*Script).node},
	"nat":     {2, (*Script).nat},
	"rebind":  {0, (*Script).rebind},
	"link":    {1, (*Script).link},
	"data":    {1, (*Script).data},
	"tunnel":  {5, (*Script).tunnel},
	"gateway": {2, (*Script).gateway},
	"pool":    {2, (*Script).pool},
	"secret":  {3, (*Script).secret},
	"next":    {3, (*Script).next},
	"cut":     {2, (*Script).cut},
	"mend":    {2, (*Script).mend},
	"calm":    {0, (*Script).calm},
	"stream":  {3, (*Script).stream},
	"stop":    {0, (*Script).stop},
	"run":     {1, (*Script).run},
	"expect":  {2, (*Script).expect},
	"quiet":   {0, (*Script).quiet},
	"replay":  {2, (*Script).replay},
	"forge":   {3, (*Script).forge},
	"empty":   {0, (*Script).empty},
}

func (s *Script) command(words []string) error {
	if words[0] == "at" && len(words) > 2 {
		t, err := time.ParseDuration(words[1])
		if err != nil {
			return err
		}
		s.world.Run(t - s.world.Elapsed())
		words = words[2:]
	}
	if c, ok := scriptCommands[words[0]]; ok {
		if len(words)-1 < c.args {
			return fmt.Errorf("needs %d arguments", c.args)
		}
		return c.do(s, words[1:])
	}
	n := s.world.Node(words[0])
	if n == nil || len(words) < 2 {
		return fmt.Errorf("no such command or node")
	}
	return s.nodeCommand(n, words[1], words[2:])
}

func (s *Script) nodeCommand(n *Node, verb string, args []string) error {
	switch verb {
	case "probe":
		n.Probe()
		return nil
	case "flush":
		n.Flush()
		return nil
	case "crash":
		n.Crash()
		return nil
	case "start":
		n.Restart()
		return nil
	}
	if len(args) != 1 {
		return fmt.Errorf("needs a tunnel")
	}
	switch verb {
	case "move":
		return n.Move(args[0])
	case "suspend", "leap", "wall":
		return s.clockCommand(n, verb, args[0])
	}
	t, err := s.find(args[0])
	if err != nil {
		return err
	}
	switch verb {
	case "up":
		n.Up(t.Name)
	case "route":
		n.Route(t.Name)
	case "down":
		n.TakeDown(t.Name)
	case "rekey":
		n.Rekey(t.Name)
	case "rekey-ike":
		n.RekeyIKE(t.Name)
	case "drop":
		n.Drop(t.Name)
	case "burst":
		s.burst(n, t)
	case "ping":
		f := t.flowOf(n)
		number := s.world.nextNumber()
		s.world.Trace.add(n.Name, fmt.Sprintf("packet %d: %s", number, f))
		s.world.Trace.watch(number)
		n.submit(f, number)
	default:
		return fmt.Errorf("a node cannot %q", verb)
	}
	return nil
}

func (s *Script) find(name string) (*Tunnel, error) {
	for _, t := range s.world.tunnels {
		if t.Name == name {
			return t, nil
		}
	}
	return nil, fmt.Errorf("no tunnel %q", name)
}

func (s *Script) seed(a []string) error {
	n, err := strconv.ParseUint(a[0], 10, 64)
	s.world.chance.seed = n
	return err
}

func (s *Script) node(a []string) error {
	addr, err := netip.ParseAddr(a[1])
	switch {
	case err != nil:
		return err
	case s.world.Node(a[0]) != nil:
		return fmt.Errorf("the name %q is taken", a[0])
	case s.world.byAddr[addr] != nil:
		return fmt.Errorf("the address is that of %s", s.world.byAddr[addr].Name)
	}
	s.world.Add(a[0], a[1], s.engine)
	return nil
}

func (s *Script) nat(a []string) error {
	if _, err := netip.ParseAddr(a[0]); err != nil {
		return err
	}
	var inside []*Node
	for _, name := range a[1:] {
		n := s.world.Node(name)
		if n == nil {
			return fmt.Errorf("no node %q", name)
		}
		inside = append(inside, n)
	}
	s.world.NAT(a[0], inside...)
	return nil
}

func (s *Script) rebind([]string) error {
	for _, b := range s.world.nats {
		b.Rebind()
	}
	s.world.Trace.add("", "$ the NAT forgets its mappings")
	return nil
}

func (s *Script) link(a []string) error { return parseFaults(&s.world.Net.IKE, a) }
func (s *Script) data(a []string) error { return parseFaults(&s.world.Net.Data, a) }

func parseFaults(f *Faults, args []string) error {
	durations := map[string]*time.Duration{"delay": &f.Delay, "jitter": &f.Jitter}
	odds := map[string]*float64{"loss": &f.Loss, "twice": &f.Double, "late": &f.Late, "corrupt": &f.Corrupt}
	numbers := map[string]*int{"mtu": &f.MTU}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch {
		case durations[key] != nil:
			*durations[key], err = time.ParseDuration(value)
		case odds[key] != nil:
			*odds[key], err = strconv.ParseFloat(value, 64)
		case numbers[key] != nil:
			*numbers[key], err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("unknown fault")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", arg, err)
		}
	}
	return nil
}

func (s *Script) pool(a []string) error {
	n := s.world.Node(a[0])
	if n == nil {
		return fmt.Errorf("no such node")
	}
	p, err := netip.ParsePrefix(a[1])
	n.Pool.Prefixes = append(n.Pool.Prefixes, p)
	return err
}

func (s *Script) secret(a []string) error {
	n, peer := s.world.Node(a[0]), s.world.Node(a[1])
	if n == nil || peer == nil {
		return fmt.Errorf("no such node")
	}
	n.Keys.SetPSK(nodeID(n), nodeID(peer), strings.Join(a[2:], " "))
	return nil
}

var fates = map[string]fate{"ok": deliver, "lose": lose, "twice": double, "late": late, "corrupt": corrupt}

func (s *Script) next(a []string) error {
	l, err := s.between(a)
	for _, word := range a[2:] {
		f, ok := fates[word]
		if !ok {
			return fmt.Errorf("unknown fate %q", word)
		}
		s.world.Net.next(l, f)
	}
	return err
}

func (s *Script) between(a []string) (link, error) {
	from, to := s.world.Node(a[0]), s.world.Node(a[1])
	if from == nil || to == nil {
		return link{}, fmt.Errorf("no such node")
	}
	return link{from.Addr, to.Addr}, nil
}

func (s *Script) cut(a []string) error {
	l, err := s.between(a)
	if err == nil {
		s.world.Net.Cut(l.from, l.to)
		s.world.Trace.add("", "$ cut the wire from "+a[0]+" to "+a[1])
	}
	return err
}

func (s *Script) mend(a []string) error {
	l, err := s.between(a)
	if err == nil {
		s.world.Net.Mend(l.from, l.to)
		s.world.Trace.add("", "$ mend the wire from "+a[0]+" to "+a[1])
	}
	return err
}

func (s *Script) calm([]string) error {
	s.world.Net.Calm()
	s.world.Trace.add("", "$ no more faults")
	return nil
}

func (s *Script) stream(a []string) error {
	t, err := s.find(a[0])
	if err != nil {
		return err
	}
	from := s.world.Node(a[1])
	every, err := time.ParseDuration(a[2])
	if from == nil || err != nil {
		return fmt.Errorf("bad node or interval")
	}
	s.world.Trace.add(from.Name, fmt.Sprintf("$ send a packet through %s every %s", t.Name, every))
	s.streams = append(s.streams, s.world.Stream(t, from, every))
	return nil
}

func (s *Script) stop([]string) error {
	for _, st := range s.streams {
		st.Stop()
	}
	s.world.Run(s.world.Net.Data.Delay + s.world.Net.Data.Jitter + time.Second)
	for _, st := range s.streams {
		lost, twice := st.Lost()
		s.world.Trace.add(st.to.Name, fmt.Sprintf("of %d packets %d were lost, %d came twice", st.Sent(), len(lost), len(twice)))
	}
	s.streams = nil
	return nil
}

func (s *Script) run(a []string) error {
	d, err := time.ParseDuration(a[0])
	s.world.Run(d)
	return err
}

func (s *Script) expect(a []string) error {
	t, err := s.find(a[1])
	if err != nil {
		return err
	}
	switch a[0] {
	case "secured":
		if !t.Secured() {
			return fmt.Errorf("not so")
		}
	case "carries":
		return s.world.Carries(t)
	case "nothing":
		for _, n := range []*Node{t.A, t.B} {
			if n.secures(t.Name) || len(n.Plane.sorted()) > 0 || len(n.machines) > 0 {
				return fmt.Errorf("%s still has SAs", n.Name)
			}
		}
	default:
		return fmt.Errorf("unknown expectation")
	}
	return nil
}

func (s *Script) quiet(a []string) error {
	var wanted []*Tunnel
	for _, name := range a {
		t, err := s.find(name)
		if err != nil {
			return err
		}
		wanted = append(wanted, t)
	}
	before := len(s.world.Breaches)
	s.world.Quiet(wanted...)
	if len(s.world.Breaches) > before && !s.checks {
		return fmt.Errorf("%v", s.world.Breaches[before:])
	}
	return nil
}
