package connection

import (
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/ike"
)

// What anybody may have sent, a first message that is refused, takes the place of no
// reason that came out of a negotiation, nor of one of our own; and the other way
// round. All three are told, newest first, until the connection is up.
func TestBlames(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"))
	c := w.conn("a")
	from := netip.AddrPortFrom(c.Remote.Addr, 500)
	refuse := func(text string) {
		why := &ike.Failure{Reason: ike.ReasonProposal, Why: text}
		w.step(Refused{Report: ike.Report{Conn: c.Conn, Peer: from, Fact: ike.Note{Text: text, Why: why}}})
		w.pass(time.Second)
	}
	c.note(Blame{Why: badKey, At: w.now, Peer: from})
	w.pass(time.Second)
	refuse("first")
	refuse("second")
	c.note(Blame{Why: noAnswer, At: w.now, Ours: true})
	got := w.table.Blames("a")
	var texts []string
	for _, b := range got[0].List {
		texts = append(texts, b.Why.Why)
	}
	if len(got) != 1 || len(texts) != 3 || texts[0] != noAnswer.Why || texts[1] != "second" || texts[2] != badKey.Why {
		t.Errorf("%q", texts)
	}
	w.up("a")
	if got := w.table.Blames("a"); len(got[0].List) != 0 {
		t.Errorf("up, and %d reasons are left", len(got[0].List))
	}
}
