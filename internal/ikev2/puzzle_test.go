package ikev2

import (
	"strings"
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// A puzzle of any difficulty, well formed or not, costs us no computation: the
// cookie is returned alone, a few times at most, one line of the log tells of it, and
// who then waits in vain learns why (RES-09, as initiator).
func TestAdv_RES_09_Puzzle(t *testing.T) {
	p := newPair(t, 9)
	w := p.west.initiate()
	giveUp, jobs := w.win.pending.giveUp, len(p.west.jobs)
	puzzles := [][]byte{{0, 5, 255}, {0, 5, 0}, {0, 5, 20}, {255, 255, 255}, {}, make([]byte, 60000)}
	for i := range 100 {
		p.west.step(w, clearAnswer(w, wire.NewNotify(ike.NotifyCookie, []byte{9, byte(i)}), wire.NewNotify(ike.NotifyPuzzle, puzzles[i%len(puzzles)])))
	}
	if len(p.west.jobs) != jobs || len(p.sent) != 1+maxCookieRounds || w.win.pending.giveUp != giveUp {
		t.Errorf("%d jobs, %d messages, until %v; had %d, 1 and until %v", len(p.west.jobs), len(p.sent), w.win.pending.giveUp, jobs, giveUp)
	}
	told := 0
	for _, n := range facts[ike.Note](p.west) {
		if strings.Contains(n.Text, "puzzle") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("the puzzle is told of %d times", told)
	}
	p.flying = nil
	p.now = giveUp
	p.west.step(w, ike.TimeUp{})
	why := p.west.failure()
	if why == nil || why.Reason != ike.ReasonSilent || why.Notify != ike.NotifyPuzzle || !strings.Contains(why.Why, "RFC 8019") {
		t.Errorf("the end is %+v", why)
	}
}

// A responder that asks for a solution and gets its cookie alone may serve us all
// the same (RFC 8019, 7.1.2).
func TestPuzzleUnsolvedIsServed(t *testing.T) {
	p := newPair(t, 10)
	w := p.west.initiate()
	p.flying = nil // it kept nothing of that request
	p.west.step(w, clearAnswer(w, wire.NewNotify(ike.NotifyCookie, []byte("cookie")), wire.NewNotify(ike.NotifyPuzzle, []byte{0, 5, 20})))
	p.settle()
	p.check(1)
}
