package ikev2

import (
	"bytes"
	"fmt"
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

// We ask for no puzzle, so a solution buys nothing: who comes without our cookie when
// we are busy is asked for that, with three of the four keys of RFC 8019, 7.1.1.1, with
// all of them, and when he says it again (RES-09, as responder).
func TestAdv_RES_09_Solution(t *testing.T) {
	const puzzleSolution = 54 // the PS payload
	p := anyoneAtEast(t)
	for i := range 100 {
		p.knock(fmt.Sprintf("198.51.%d.7:500", i), i)
	}
	held := p.east.gate.HalfOpen()
	msg, err := wire.Parse(initFrom(p, 1000))
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range []int{3, 4, 4} {
		solution := wire.Unknown{Number: puzzleSolution, Data: bytes.Repeat([]byte{0xa5}, 16*keys)}
		m, out := p.knockWith("198.51.200.7:500", wire.Append(nil, msg.Header, append(msg.Payloads, solution)...))
		if m != nil || len(out) != 1 || kindOf(t, out[0].Msg) != ike.NotifyCookie || p.east.gate.HalfOpen() != held {
			t.Errorf("%d keys: %v, %d answers, %d half-open IKE SAs of %d", keys, m, len(out), p.east.gate.HalfOpen(), held)
		}
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
