package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"strings"

	"cygnet/internal/ipsec"
)

// Policy group files: /etc/ipsec.d/policies/NAME lists the destinations of the
// connection NAME, whose right= is %group or %opportunisticgroup
// (opportunistic.md 2.3, freeswan.md 2.15):
//
//	file  = *line
//	line  = [entry] ["#" comment]
//	entry = target [protocol port port]   ; our port, then the peer's
//	target = address [/bits] / "%any"

// GroupEntry is one destination of a policy group.
type GroupEntry struct {
	Where    Pos
	Target   netip.Prefix
	Proto    uint8       // 0: any
	SrcPorts ipsec.Ports // ours
	DstPorts ipsec.Ports // the peer's
}

// String is the target as the name of an instance has it, like 192.0.2.0/24 or
// 192.0.2.0/24-tcp-0-25.
func (e GroupEntry) String() string {
	if e.Proto == 0 {
		return e.Target.String()
	}
	return fmt.Sprintf("%s-%s-%d-%d", e.Target, protocolName(e.Proto), e.SrcPorts.Lo, e.DstPorts.Lo)
}

// Groups are the contents of policy group files, by the name of the connection.
type Groups struct {
	Entries  map[string][]GroupEntry
	Errors   []Problem // of lines, which are left out
	Warnings []Problem
}

// Err returns the errors of all files as one, nil if there is none.
func (g *Groups) Err() error {
	var errs []error
	for _, p := range g.Errors {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// ParseGroups reads the files in dir of all connections of f that are policy
// groups. A missing file is an empty one.
func ParseGroups(fsys FS, dir string, f *File) *Groups {
	g := &Groups{Entries: map[string][]GroupEntry{}}
	for _, c := range f.Conns {
		if !c.Group() || c.Auto == AutoIgnore {
			continue
		}
		name := path.Join(dir, c.Name)
		if strings.ContainsRune(c.Name, '/') || strings.HasPrefix(c.Name, ".") {
			g.Errors = append(g.Errors, *problemAt(c.Where, "", fmt.Sprintf("the policy group %q cannot have a file of that name", c.Name), "give the connection a name without slashes and leading dots"))
			continue
		}
		data, _, err := fsys.Read(name, maxGroupSize)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			g.Errors = append(g.Errors, Problem{File: name, Text: fmt.Sprintf("cannot read the policy group: %s", reason(err))})
		default:
			g.parse(c.Name, name, string(data))
		}
	}
	return g
}

func (g *Groups) parse(group, file, text string) {
	seen := map[GroupEntry]int{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		at := Pos{file, number}
		fail := func(text, mend string) { g.Errors = append(g.Errors, *problemAt(at, "", text, mend)) }
		if len(line) > maxGroupLine {
			fail(fmt.Sprintf("line is longer than %d octets", maxGroupLine), "")
			continue
		}
		words := groupWords(line)
		if len(words) == 0 {
			continue
		}
		if len(seen) == maxGroupEntries {
			fail(fmt.Sprintf("more than %d entries", maxGroupEntries), "write prefixes instead of single addresses")
			return
		}
		list, warning, err := parseGroupEntry(words)
		if err != nil {
			mend := ""
			if m, ok := errors.AsType[mendable](err); ok {
				mend = m.mend
			}
			fail(err.Error(), mend)
			continue
		}
		if warning != "" {
			g.Warnings = append(g.Warnings, *problemAt(at, "", warning, ""))
		}
		for _, e := range list {
			if first, dup := seen[e]; dup {
				g.Warnings = append(g.Warnings, *problemAt(at, "", fmt.Sprintf("%s stands in line %d already", e, first), ""))
				continue
			}
			seen[e] = number
			e.Where = at
			g.Entries[group] = append(g.Entries[group], e)
		}
	}
}

// ParseGroupLine reads what may stand in a line of a policy group file; none for a
// comment.
func ParseGroupLine(line string) ([]GroupEntry, error) {
	words := groupWords(line)
	if len(words) == 0 {
		return nil, nil
	}
	list, _, err := parseGroupEntry(words)
	if m, ok := errors.AsType[mendable](err); ok && m.mend != "" {
		err = fmt.Errorf("%w: %s", err, m.mend)
	}
	return list, err
}

// groupWords splits a line; a word that begins with # ends it.
func groupWords(line string) []string {
	words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' })
	for i, w := range words {
		if strings.HasPrefix(w, "#") {
			return words[:i]
		}
	}
	return words
}

func parseGroupEntry(words []string) (list []GroupEntry, warning string, err error) {
	if len(words) != 1 && len(words) != 4 {
		return nil, "", mendable{fmt.Errorf("%d words are no entry", len(words)), "write a target alone, or target, protocol, our port and the peer's port"}
	}
	targets, warning, err := parseTarget(words[0])
	if err != nil {
		return nil, "", err
	}
	var e GroupEntry
	if len(words) == 4 {
		if err := e.parsePorts(words[1], words[2], words[3]); err != nil {
			return nil, "", err
		}
	}
	for _, t := range targets {
		e.Target = t
		list = append(list, e)
	}
	return list, warning, nil
}

// parseTarget reads an address, a prefix or %any, which is both families.
func parseTarget(word string) (list []netip.Prefix, warning string, err error) {
	if word == "%any" {
		return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}, "", nil
	}
	bare := !strings.Contains(word, "/")
	text := word
	if bare {
		a, err := netip.ParseAddr(word)
		if err != nil {
			return nil, "", mendable{fmt.Errorf("%q is no address", word), "host names are not looked up here: write the address"}
		}
		text = fmt.Sprintf("%s/%d", a, a.BitLen())
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("%q is no prefix", word)
	case p.Addr().Is4In6():
		return nil, "", mendable{fmt.Errorf("%q is an IPv4 address inside IPv6", word), "write " + p.Addr().Unmap().String()}
	case p != p.Masked():
		return []netip.Prefix{p.Masked()}, fmt.Sprintf("%s has bits set behind its length: taken as %s", word, p.Masked()), nil
	}
	return []netip.Prefix{p}, "", nil
}

// Protocols that the rules of group files speak of.
const (
	protoTCP  = 6
	protoUDP  = 17
	protoESP  = 50
	protoAH   = 51
	protoSCTP = 132
)

func (e *GroupEntry) parsePorts(proto, src, dst string) error {
	n, _, err := parseProtocol(proto)
	switch {
	case err != nil:
		return err
	case n == 0:
		return mendable{fmt.Errorf("protocol %q is no protocol", proto), "for any protocol write the target alone"}
	case n == protoESP || n == protoAH:
		return fmt.Errorf("protocol %q is what protects, not what is protected", proto)
	}
	e.Proto = n
	for _, p := range []struct {
		word string
		to   *ipsec.Ports
	}{{src, &e.SrcPorts}, {dst, &e.DstPorts}} {
		port, err := parsePort(p.word)
		if err != nil {
			return err
		}
		if port != 0 && n != protoTCP && n != protoUDP && n != protoSCTP {
			return fmt.Errorf("port %q with protocol %q: only tcp, udp and sctp have ports here", p.word, proto)
		}
		*p.to = ipsec.Ports{Lo: port, Hi: port}
	}
	return nil
}

func protocolName(n uint8) string {
	for _, p := range protocols {
		if p.number == n {
			return p.name
		}
	}
	return fmt.Sprint(n)
}
