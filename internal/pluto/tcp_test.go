package pluto

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cygnet/internal/whack"
)

// No UDP gets through: auto --up says that TCP is tried, the tunnel carries and is
// shown to be in TCP. When its connection breaks another takes its place, and
// goes with the tunnel.
func TestTCP(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		for _, w := range p.wires {
			w.setCut(true)
		}
		p.west.start(setup + tunnel("net", "auto=add", "enable-tcp=fallback"))
		p.east.start(setup + tunnel("net", "auto=add"))
		if out := p.west.must(whack.OpUp, "net"); !slices.ContainsFunc(out, func(l string) bool {
			return strings.HasSuffix(l, "no answer by UDP: trying TCP to 198.51.100.1:4500")
		}) {
			t.Errorf("auto --up says %v", out)
		}
		p.carries(t, "first")
		for _, g := range []*gateway{p.west, p.east} {
			if n := g.states("ESTABLISHED", "in TCP"); n != 2 {
				t.Errorf("%s: %d SAs in TCP, want the IKE SA and the Child SA", g.name, n)
			}
		}
		wire := p.wires[0].Memory
		before := wire.Streams()
		if len(before) != 1 {
			t.Fatalf("connections %v", before)
		}
		for range 3 {
			wire.CutTCP()
			// An answer that was under way is lost with the connection, and its
			// request repeated: a few seconds.
			time.Sleep(20 * time.Second)
			synctest.Wait()
			now := wire.Streams()
			if len(now) != 1 || now[0] == before[0] {
				t.Fatalf("connections %v, before %v", now, before)
			}
			before = now
			p.carries(t, "again")
		}
		p.west.must(whack.OpDown, "net")
		time.Sleep(time.Minute)
		synctest.Wait()
		if now := wire.Streams(); len(now) != 0 {
			t.Errorf("connections %v after --down", now)
		}
	})
}
