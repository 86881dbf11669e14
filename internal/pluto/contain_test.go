package pluto

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/underlay"
	"cygnet/internal/whack"
)

// faulty is a machine with a fault: some messages make it panic.
type faulty struct {
	ike.Machine
	fatal func(msg []byte) bool
	steps *int
}

func (f *faulty) Step(now time.Time, ev ike.Event, out []ike.Action) []ike.Action {
	if r, ok := ev.(ike.Received); ok && f.fatal(r.Msg) {
		*f.steps++
		r.Msg[0]++ // as decrypting in place does
		var none []int
		_ = none[len(r.Msg)]
	}
	return f.Machine.Step(now, ev, out)
}

// One tunnel's machine panics on what its peer has sent: its IKE SA is dropped
// with its SAs, the other tunnel carries on, the log has the place of the fault,
// and the tunnel comes back. The same message is not looked at a fourth time.
func TestAdv_CRS_11_PanicIsContained(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start(setup + tunnel("net", "auto=add", "keyingtries=1"))
		p.east.start(setup + tunnel("net", "auto=add"))
		poison := make([]byte, 40)
		steps := 0
		for round := range 5 {
			p.west.must(whack.OpUp, "net")
			p.carries(t, "before")
			var spis, sas int
			p.west.call(t.Context(), func() {
				for _, m := range p.west.machines {
					i, r := m.SPIs()
					binary.BigEndian.PutUint64(poison, i)
					binary.BigEndian.PutUint64(poison[8:], r)
					p.west.register(&faulty{m, func(msg []byte) bool { return len(msg) == len(poison) }, &steps})
				}
				poison[17], poison[18], poison[19] = 0x20, 37, 0x20 // IKEv2, INFORMATIONAL, a response
				binary.BigEndian.PutUint32(poison[24:], uint32(len(poison)))
				p.west.received(underlay.Datagram{Local: netip.AddrPortFrom(westAddr, 500), Remote: netip.AddrPortFrom(eastAddr, 500), Msg: slices.Clone(poison)})
				p.west.drain()
				spis = len(p.west.machines)
			})
			all := p.west.plane.SAs()
			if sas = len(all); spis != 0 || sas != 0 {
				t.Fatalf("round %d: %d machines and %d SAs are left", round, spis, sas)
			}
		}
		if steps != 5 { // the SPIs were others each time
			t.Errorf("%d steps", steps)
		}
		for _, part := range []string{"internal error in #", "index out of range", "contain_test.go"} {
			if !strings.Contains(p.west.log.String(), part) {
				t.Errorf("the log has no %q", part)
			}
		}
		p.west.must(whack.OpUp, "net")
		p.carries(t, "afterwards")
	})
}

// The same octets are read three times and no more, and other ones always; what is
// remembered is bounded.
func TestAdv_CRS_11_SameInput(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start(setup)
		steps := 0
		fatal := []byte(strings.Repeat("x", 40))
		p.west.call(t.Context(), func() {
			for range 10 {
				if !p.west.poisons.known(fatal) {
					p.west.contained("a test", ike.Received{Msg: slices.Clone(fatal)}, func() { steps++; panic("fault") })
				}
			}
			if steps != faultTries || p.west.poisons.known(fatal[1:]) {
				t.Errorf("%d steps", steps)
			}
			for n := range 10 * maxPoisons {
				p.west.poisons.add(binary.BigEndian.AppendUint32(nil, uint32(n)))
			}
			if n := len(p.west.poisons.count); n != maxPoisons || len(p.west.poisons.oldest) != maxPoisons || p.west.poisons.known(fatal) {
				t.Errorf("%d are remembered", n)
			}
			if !p.west.contained("a test", ike.TimeUp{}, func() {}) || p.west.contained("a test", ike.TimeUp{}, func() { panic("fault") }) {
				t.Error("contained")
			}
		})
	})
}
