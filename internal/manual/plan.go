package manual

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"cygnet/internal/config"
	"cygnet/internal/connection"
	"cygnet/internal/ipsec"
)

// Plan is what one connection amounts to on this machine.
type Plan struct {
	Desc *connection.Description
	// Out and In are its SAs, each in the order in which they are applied to an
	// outbound packet: tun, esp, ah.
	Out, In []ipsec.SA
	Names   []string // of the transforms of Out and In, as `ipsec spi` takes them
	// Policies are its eroutes while it is up.
	Policies []ipsec.Policy
	Warnings []config.Problem
}

// New plans a connection. d is the same connection as this machine sees it; an
// error is about the connection, with its place in the file.
func New(c *config.Conn, setup *config.Setup, d *connection.Description) (*Plan, *config.Problem) {
	b := planner{c: c, setup: setup, p: &Plan{Desc: d}}
	if action, shunt := c.Shunt(); shunt {
		return b.shunt(action)
	}
	for _, step := range []func() *config.Problem{b.permitted, b.suites, b.exposure, b.sas} {
		if problem := step(); problem != nil {
			return nil, problem
		}
	}
	b.policies(ipsec.Protect)
	b.warn()
	return b.p, nil
}

// Is reports whether a connection says anything of manual keying.
func Is(c *config.Conn) bool {
	m := &c.Manual
	_, shunt := c.Shunt()
	return shunt || m.SPI != 0 || m.SPIBase != 0 || m.AH != "" || m.Keys.ESPEnc.Len()+m.Keys.ESPAuth.Len() > 0
}

// planner makes one Plan.
type planner struct {
	c       *config.Conn
	setup   *config.Setup
	p       *Plan
	esp, ah Suite
}

// problem is about the parameter that id names, or about the whole connection
// where that was not given.
func (b *planner) problem(id, text, mend string) *config.Problem {
	at, ok := b.c.Keys[id]
	if !ok || at.File == "" {
		at = b.c.Where
	}
	return &config.Problem{File: at.File, Line: at.Line, Conn: b.c.Name, Key: id, Text: text, Mend: mend}
}

// shunt plans a connection that only lets pass, drops or rejects.
func (b *planner) shunt(a ipsec.Action) (*Plan, *config.Problem) {
	for _, id := range []string{"esp", "ah"} {
		if _, ok := b.c.Keys[id]; ok {
			return nil, b.problem(id, "a passthrough, drop or reject connection protects nothing", "leave "+id+"= out")
		}
	}
	b.policies(a)
	return b.p, nil
}

func (b *planner) permitted() *config.Problem {
	m := &b.c.Manual
	switch {
	case !b.setup.AllowManual:
		return b.problem("spi", "manual keying is forbidden by allow-manual=no in config setup", "")
	case m.SPI == 0 && m.SPIBase == 0:
		return b.problem("spi", "manual keying needs spi or spibase", "spi=0x200, another one for each connection")
	case m.ESP == "" && m.AH == "":
		return b.problem("esp", "manual keying needs esp or ah", "such as esp=aes128-sha2_256")
	case !b.p.Desc.Remote.Addr.IsValid() || b.p.Desc.Remote.Addr.IsUnspecified():
		return b.problem("right", "the peer's address is not known, and nothing negotiates it", "manual keying needs fixed addresses on both ends")
	}
	return nil
}

// suites reads the names of the transforms. Encryption alone is accepted where
// AH or an express wish stands beside it (R10.8); ESP that does not encrypt is
// not, a tunnel that hides nothing must not look like one that does (R20.1).
func (b *planner) suites() *config.Problem {
	m := &b.c.Manual
	var err error
	if m.ESP != "" {
		if b.esp, err = ParseESP(m.ESP); err != nil {
			return b.problem("esp", err.Error(), "")
		}
		switch {
		case b.esp.Encr.NewBlock == nil:
			return b.problem("esp", fmt.Sprintf("%q encrypts nothing", m.ESP), "ah= authenticates without encrypting")
		case b.esp.Integ == nil && m.AH == "" && !m.AllowNoAuth:
			return b.problem("esp", fmt.Sprintf("%q has no authentication: whoever is on the way may change packets", m.ESP), "add one, as in "+m.ESP+"-sha1-96, or ah=; allow-noauth=yes permits it")
		}
	}
	if m.AH != "" {
		if b.ah, err = ParseAH(m.AH); err != nil {
			return b.problem("ah", err.Error(), "")
		}
	}
	if names := b.obsolete(); len(names) > 0 && !b.setup.AllowLegacy {
		return b.problem("esp", strings.Join(names, ", ")+": forbidden by allow-legacy=no in config setup", "use aes128-sha2_256")
	}
	return nil
}

func (b *planner) obsolete() []string {
	var names []string
	for _, n := range append(b.esp.Obsolete(), b.ah.Obsolete()...) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// exposure refuses keys in files that others may read (R8.1, R10.5).
func (b *planner) exposure() *config.Problem {
	p := b.c.Manual.Exposed
	if p == nil {
		return nil
	}
	q := *p
	q.Conn = b.c.Name
	if b.setup.SecretsWarn {
		b.p.Warnings = append(b.p.Warnings, q)
		return nil
	}
	return &q
}

// sas makes the SAs of both directions.
func (b *planner) sas() *config.Problem {
	d := b.p.Desc
	out, problem := b.direction(!d.Right)
	if problem != nil {
		return problem
	}
	in, problem := b.direction(d.Right)
	if problem != nil {
		return problem
	}
	b.p.Out = address(out, ipsec.Out, d.Local.Addr, d.Remote.Addr)
	b.p.In = address(in, ipsec.In, d.Remote.Addr, d.Local.Addr)
	if b.c.CheckArrival {
		for _, s := range d.Selectors() {
			for i := range b.p.In {
				b.p.In[i].Selectors = append(b.p.In[i].Selectors, s.Reverse())
			}
		}
	}
	return nil
}

// address fills in what the SAs of one direction share.
func address(list []ipsec.SA, dir ipsec.Direction, src, dst netip.Addr) []ipsec.SA {
	for i := range list {
		list[i].ID.Dst, list[i].Src, list[i].Dir = dst, src, dir
	}
	return list
}

// direction makes the SAs toward the right end, or toward the left.
func (b *planner) direction(toRight bool) ([]ipsec.SA, *config.Problem) {
	n, err := numbersOf(b.c, toRight)
	if err != nil {
		return nil, b.problem("spi", err.Error(), "")
	}
	keys, ids := b.keys(toRight)
	b.p.Names = nil
	var list []ipsec.SA
	add := func(name string, sa ipsec.SA) {
		sa.Mode, sa.Owner = b.c.Mode(), b.c.Name
		list, b.p.Names = append(list, sa), append(b.p.Names, name)
	}
	if n.tun != 0 {
		add("", ipsec.SA{ID: ipsec.SAID{Proto: ipsec.Tun, SPI: n.tun}})
	}
	if n.esp != 0 {
		if err := b.esp.CheckEncrKey(keys.ESPEnc); err != nil {
			return nil, b.problem(ids.enc, err.Error(), "ipsec ranbits makes keys")
		}
		if err := b.esp.CheckIntegKey(keys.ESPAuth); err != nil {
			return nil, b.problem(ids.auth, err.Error(), "ipsec ranbits makes keys")
		}
		add(b.c.Manual.ESP, ipsec.SA{ID: ipsec.SAID{Proto: ipsec.ESP, SPI: n.esp}, Transform: b.esp.Transform(keys.ESPEnc),
			EncrKey: keys.ESPEnc, IntegKey: keys.ESPAuth, Replay: b.c.Manual.ESPReplay})
	}
	if n.ah != 0 {
		if err := b.ah.CheckIntegKey(keys.AHSecret); err != nil {
			return nil, b.problem(ids.ah, err.Error(), "ipsec ranbits makes keys")
		}
		add(b.c.Manual.AH, ipsec.SA{ID: ipsec.SAID{Proto: ipsec.AH, SPI: n.ah}, Transform: b.ah.Transform(ipsec.Secret{}),
			IntegKey: keys.AHSecret, Replay: b.c.Manual.AHReplay})
	}
	return list, nil
}

// keyIDs are the parameters that keys came from, for messages.
type keyIDs struct{ enc, auth, ah string }

// keys are those of one direction: the end's own, else the connection's.
func (b *planner) keys(toRight bool) (config.ManualKeys, keyIDs) {
	keys, ids := b.c.Manual.Keys, keyIDs{"espenckey", "espauthkey", "ahkey"}
	own, side := b.c.Left.Manual, "left"
	if toRight {
		own, side = b.c.Right.Manual, "right"
	}
	for _, k := range []struct {
		own  ipsec.Secret
		to   *ipsec.Secret
		name *string
	}{{own.ESPEnc, &keys.ESPEnc, &ids.enc}, {own.ESPAuth, &keys.ESPAuth, &ids.auth}, {own.AHSecret, &keys.AHSecret, &ids.ah}} {
		if k.own.Len() > 0 {
			*k.to, *k.name = k.own, side+*k.name
		}
	}
	return keys, ids
}

func (b *planner) policies(a ipsec.Action) {
	var bundle []ipsec.SAID
	for _, sa := range b.p.Out {
		bundle = append(bundle, sa.ID)
	}
	for _, s := range b.p.Desc.Selectors() {
		b.p.Policies = append(b.p.Policies, ipsec.Policy{Selector: s, Action: a, Bundle: bundle, Owner: b.c.Name})
	}
}

// warn says once what manual keying is worth (R4.10), and what its algorithms
// are.
func (b *planner) warn() {
	text := fmt.Sprintf("connection %q has static keys: they are never changed, and whoever learns them reads all traffic of the past", b.c.Name)
	if names := b.obsolete(); len(names) > 0 {
		text += "; obsolete: " + strings.Join(names, ", ")
	}
	b.p.Warnings = append(b.p.Warnings, *b.problem("spi", text, "use automatic keying where the peer can"))
	if at := b.c.Manual.Example; at != "" {
		b.p.Warnings = append(b.p.Warnings, *b.problem(at, fmt.Sprintf("connection %q uses an example key of the documentation, which everybody has", b.c.Name), "make keys with ipsec ranbits"))
	}
}
