package firewall

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
)

// scriptTag begins the comments of rules that Open made; the name follows.
const scriptTag = "script "

// Open implements Firewall.
func (l *Linux) Open(name string, pairs []Pair) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("open firewall: name of %d octets, want 1 to %d", len(name), maxName)
	}
	return l.scripted(name, sorted(pairs))
}

// Shut implements Firewall.
func (l *Linux) Shut(name string) error { return l.scripted(name, nil) }

// scripted makes pairs all that is open under a name.
func (l *Linux) scripted(name string, pairs []Pair) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.try(func(b *batch) error {
		k, err := l.inspect()
		if err != nil {
			return err
		}
		tag := scriptTag + name
		stay := slices.ContainsFunc(k.scripts, func(r rawRule) bool { return r.comment() != tag })
		for _, r := range k.scripts {
			if r.comment() != tag {
				continue
			}
			if err := b.deleteRule(table(), r.chain, r.handle); err != nil {
				return err
			}
		}
		switch {
		case len(pairs) > 0:
			b.addScripts(tag, pairs, l.o.Mark)
		case !stay && k.holding && len(k.chains) == 0:
			b.deleteTable()
		case !stay && k.holding:
			b.deleteChain(scriptsChain)
			b.deleteChain(scriptsNATChain)
		}
		return l.planForeign(b, stay || len(pairs) > 0 || slices.Contains(k.chains, forwardChain.name))
	})
	l.gen = 0 // Set has not looked at what else is new
	if err != nil {
		return fmt.Errorf("open or shut the firewall for %q: %w", name, err)
	}
	return nil
}

// addScripts queues the rules of one name, three for each pair.
func (b *batch) addScripts(tag string, pairs []Pair, mark uint32) {
	b.addTable()
	b.addChain(scriptsChain)
	b.addChain(scriptsNATChain)
	for _, p := range pairs {
		out, in := between(p, goesBy), between(p, comesBy)
		v6 := p.Local.Addr().Is6()
		b.addRule(scriptsChain, tag, join(out, counted(), setMark(mark)))
		b.addRule(scriptsChain, tag, join(in, counted(), setMark(mark)))
		b.addRule(scriptsNATChain, tag, join(out, keepSource(v6)))
		b.addRule(scriptsNATChain, tag, join(in, keepSource(v6)))
	}
}

// between matches the packets of a pair: those that go by its device from
// local to remote, or those that come by it.
func between(p Pair, device deviceKey) []expr.Any {
	src, dst := p.Local, p.Remote
	if device == comesBy {
		src, dst = dst, src
	}
	at := [2]uint32{12, 16}
	if src.Addr().Is6() {
		at = [2]uint32{8, 24}
	}
	m := join([]expr.Any{&expr.Meta{Key: device, Register: 1}, equal(ifName(p.Device)...)}, family(src.Addr().Is6()))
	for i, prefix := range []struct{ addr, mask []byte }{
		{src.Masked().Addr().AsSlice(), maskOf(src)},
		{dst.Masked().Addr().AsSlice(), maskOf(dst)},
	} {
		n := uint32(len(prefix.addr))
		m = append(m, network(1, at[i], n),
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: n, Mask: prefix.mask, Xor: make([]byte, n)},
			equal(prefix.addr...))
	}
	return m
}

func maskOf(p netip.Prefix) []byte { return net.CIDRMask(p.Bits(), p.Addr().BitLen()) }
