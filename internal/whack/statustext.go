package whack

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
)

// Lines is the status report in the classic order (freeswan.md 4.6), without
// the 000 that every line gets.
func (s *Status) Lines() []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, i := range s.Interfaces {
		add("interface %s/%s %s", i.Virtual, i.Physical, i.Addr)
	}
	add("%%myid = %s", cmp.Or(s.MyID, "(none)"))
	add("debug %s", cmp.Or(strings.Join(s.Debug, "+"), "none"))
	if s.Captive > 0 {
		out = append(out, captiveLine(s.Captive))
	}
	add(" ")
	for i := range s.Conns {
		out = append(out, s.Conns[i].lines()...)
	}
	add(" ")
	for i := range s.States {
		out = append(out, s.States[i].lines()...)
	}
	for _, p := range s.Pending {
		add("#%d: pending Child SA for %q", p.Serial, p.Conn)
	}
	if len(s.States)+len(s.Pending) > 0 {
		add(" ")
	}
	return out
}

func instance(name string, n int, peer netip.Addr) string {
	if n == 0 {
		return fmt.Sprintf("%q", name)
	}
	return fmt.Sprintf("%q[%d] %s", name, n, peer)
}

func (c *ConnStatus) lines() []string {
	head := fmt.Sprintf("%q", c.Name)
	if c.Instance != 0 {
		head += fmt.Sprintf("[%d]", c.Instance)
	}
	routing := c.Routing
	if !c.Oriented {
		routing = "unoriented"
	}
	owner := fmt.Sprintf("#%d", c.Owner)
	list := []string{
		fmt.Sprintf("%s: %s; %s; eroute owner: %s", head, c.Topology(), routing, owner),
		fmt.Sprintf("%s:   ike_life: %ds; ipsec_life: %ds; rekey_margin: %ds; rekey_fuzz: %d%%; keyingtries: %d",
			head, c.IKELife, c.ChildLife, c.RekeyMargin, c.RekeyFuzz, c.KeyingTries),
		fmt.Sprintf("%s:   policy: %s; prio: %d,%d; interface: %s; ", head, c.Policy, c.Prio[0], c.Prio[1], c.Interface),
		fmt.Sprintf("%s:   newest ISAKMP SA: #%d; newest IPsec SA: #%d; ", head, c.NewestIKE, c.NewestChild),
	}
	if len(c.Obsolete) > 0 {
		var names []string
		for _, line := range c.Obsolete {
			name, _, _ := strings.Cut(line, ":")
			names = append(names, name)
		}
		list = append(list, fmt.Sprintf("%s:   obsolete algorithms: %s", head, strings.Join(names, ", ")))
	}
	return list
}

// Topology is client===host[id]:proto/port---nexthop...nexthop---host[id]===client,
// our side first, without the parts that say nothing.
func (c *ConnStatus) Topology() string {
	return c.Local.near(c.Remote.Addr) + "..." + c.Remote.far(c.Local.Addr)
}

func (e *EndStatus) host() string {
	s := e.Word
	if e.Addr.IsValid() && !e.Addr.IsUnspecified() {
		s = e.Addr.String()
	}
	if e.ID != "" && e.ID != s {
		s += "[" + e.ID + "]"
	}
	if e.Proto != 0 || e.Port != 0 {
		s += fmt.Sprintf(":%d/%d", e.Proto, e.Port)
	}
	return s
}

func (e *EndStatus) client() string {
	if e.Host || len(e.Clients) == 0 {
		return ""
	}
	words := make([]string, len(e.Clients))
	for i, p := range e.Clients {
		words[i] = p.String()
	}
	return strings.Join(words, ",")
}

func (e *EndStatus) hop(peer netip.Addr) string {
	if !e.NextHop.IsValid() || e.NextHop == peer {
		return ""
	}
	return e.NextHop.String()
}

func (e *EndStatus) near(peer netip.Addr) string {
	s := e.host()
	if c := e.client(); c != "" {
		s = c + "===" + s
	}
	if h := e.hop(peer); h != "" {
		s += "---" + h
	}
	return s
}

func (e *EndStatus) far(peer netip.Addr) string {
	s := e.host()
	if c := e.client(); c != "" {
		s += "===" + c
	}
	if h := e.hop(peer); h != "" {
		s = h + "---" + s
	}
	return s
}

func (s *SAState) lines() []string {
	head := fmt.Sprintf("#%d: %s", s.Serial, instance(s.Conn, s.Instance, s.Peer.Addr()))
	line := fmt.Sprintf("%s %s (%s)", head, s.Name, s.Text)
	if s.Event != "" {
		line += fmt.Sprintf("; %s in %ds", s.Event, s.EventIn)
	}
	if s.Newest {
		word := "IPSEC"
		if s.IKE {
			word = "ISAKMP"
		}
		line += "; newest " + word
	}
	if s.Owner {
		line += "; eroute owner"
	}
	if s.TCP {
		line += "; in TCP"
	}
	if s.IKE || s.Out == "" {
		return []string{line}
	}
	used := ""
	if s.Used > 0 {
		used = fmt.Sprintf(" used %ds ago;", s.Used)
	}
	sas := s.SAOut.Status() + " " + s.SAIn.Status()
	if !s.TunOut.IsZero() {
		sas += " " + s.TunOut.Status() + " " + s.TunIn.Status()
	}
	return []string{line, fmt.Sprintf("%s%s %s", head, used, sas)}
}

// Lines is one line per eroute (freeswan.md 4.8, E5).
func (e *Eroutes) Lines() []string {
	var out []string
	for i := range e.Eroutes {
		out = append(out, e.Eroutes[i].line())
	}
	return out
}

func (e *Eroute) nets() string {
	return fmt.Sprintf("%-18s -> %-18s", withPort(e.Src, e.SrcPort), withPort(e.Dst, e.DstPort))
}

func withPort(p netip.Prefix, port uint16) string {
	if port == 0 {
		return p.String()
	}
	return fmt.Sprintf("%s:%d", p, port)
}

func (e *Eroute) line() string {
	line := fmt.Sprintf("%-10d %s => %s", e.Packets, e.nets(), e.Target)
	if e.Proto != 0 {
		line += fmt.Sprintf(":%d", e.Proto)
	}
	return line
}

// Lines is one line per SA (freeswan.md 4.9).
func (s *SAs) Lines() []string {
	var out []string
	for i := range s.SAs {
		out = append(out, s.SAs[i].line())
	}
	return out
}

func (s *SA) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: dir=%-3s src=%s", s.Said, s.Transform, s.Dir, s.Src)
	item := func(name string, v uint64) {
		if v != 0 {
			fmt.Fprintf(&b, " %s=%d", name, v)
		}
	}
	for _, p := range s.Policy {
		fmt.Fprintf(&b, " policy=%s", p)
	}
	item("ooowin", uint64(s.Replay))
	item("seq", s.Seq)
	if s.Window != "" {
		fmt.Fprintf(&b, " bit=%s", s.Window)
	}
	item("alen", uint64(cmp.Or(s.DigestBits, s.ICVBits)))
	item("aklen", uint64(s.IntegBits))
	item("eklen", uint64(s.EncrBits))
	for _, e := range s.Errors {
		item(e.Reason, e.Count)
	}
	fmt.Fprintf(&b, " life(c,s,h)=bytes(%d,%d,%d)addtime(%d,0,%d)", s.Bytes, s.SoftBytes, s.HardBytes, s.Age, s.HardTime)
	fmt.Fprintf(&b, "packets(%d,%d,%d)", s.Packets, s.SoftPackets, s.HardPackets)
	if s.Used {
		fmt.Fprintf(&b, " idle=%d", s.Idle)
	}
	if s.Before > 0 {
		fmt.Fprintf(&b, " ratio=%d:%d", s.Before, s.After)
	}
	if s.Encap != "" {
		fmt.Fprintf(&b, " encap=%s", s.Encap)
	}
	return b.String()
}

// Lines is the compact view of `ipsec look` (freeswan.md 4.14).
func (l *Look) Lines() []string {
	out := []string{l.Host + " " + l.Time}
	for i := range l.Eroutes {
		e := &l.Eroutes[i]
		target := e.Target
		if len(e.Bundle) > 0 {
			target = strings.Join(e.Bundle, " ")
		}
		if e.Proto != 0 {
			target += fmt.Sprintf(":%d", e.Proto)
		}
		out = append(out, fmt.Sprintf("%s => %s (%d)", e.nets(), target, e.Packets))
	}
	var pairs []string
	for _, d := range l.Devices {
		pairs = append(pairs, fmt.Sprintf("%s->%s mtu=%d(%d)->%d", d.Virtual, d.Physical, d.MTU, d.EffectiveMTU, d.PhysicalMTU))
	}
	out = append(out, strings.Join(pairs, " "))
	for i := range l.SAs {
		out = append(out, l.SAs[i].line())
	}
	out = append(out, "dropped: "+cmp.Or(counts(l.Drops), "nothing"))
	if c := counts(l.Filter); c != "" {
		out = append(out, "firewall: "+c)
	}
	return append(out, l.Routes...)
}

func counts(list []Drop) string {
	var words []string
	for _, d := range list {
		if d.Count > 0 {
			words = append(words, fmt.Sprintf("%s=%d", d.Reason, d.Count))
		}
	}
	return strings.Join(words, " ")
}

// Lines is one line per connection that is up, as `ipsec trafficstatus` of
// the successors has it.
func (t *Traffic) Lines() []string {
	var out []string
	for _, c := range t.Conns {
		out = append(out, fmt.Sprintf("#%d: %s, type=ESP, add_time=%d, inBytes=%d, outBytes=%d, id='%s'",
			c.Serial, instance(c.Name, c.Instance, c.Peer), c.AddTime, c.InBytes, c.OutBytes, c.ID))
	}
	return out
}
