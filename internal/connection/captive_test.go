package connection

import (
	"slices"
	"testing"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
)

// forged is what a captive portal makes of every answer.
var forged = oe.Finding{Cause: oe.CauseBogus, Why: "forged"}

// D23: while a captive portal is borne with, a forged answer about the peer of a
// running tunnel is no answer: the tunnel of private-or-clear stays as long as the
// signatures of its last good answer hold, and is closed where nobody has said that
// there is a portal. What never passes in the clear is not affected.
func TestD23ReproofOfRunningTunnel(t *testing.T) {
	for _, c := range []struct {
		group   string
		captive bool
		life    time.Duration // of the signatures
		want    string
	}{
		{"private-or-clear", true, 48 * time.Hour, "encrypted"},
		{"private-or-clear", true, 5 * time.Minute, "none"},
		{"private-or-clear", false, 48 * time.Hour, "none"},
		{"private", true, 48 * time.Hour, "none"},
	} {
		s := flowStage(t, c.group, "")
		s.acquire()
		record := s.record(itself(keyA))
		record.ProofEnd = s.now.Add(c.life)
		s.answer(0, record)
		s.up(s.starts[0], 1, keyA)
		if c.captive {
			s.act(Captive{For: time.Hour})
		}
		s.asked = nil
		for len(s.asked) == 0 { // until its TTL is over
			s.act(Used{Owner: s.flow().conn.key().owner(), In: s.now, Out: s.now})
			s.pass(30 * time.Second)
		}
		s.answer(0, forged)
		if got := s.state(); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
		if want := ipsec.Protect; c.want == "encrypted" && s.effect() != want {
			t.Errorf("%+v: packets meet %s", c, s.effect())
		}
	}
}

// 10.6: an hour at most, prolonged by saying it again, over by word or by time; the
// DNS is asked anew at both ends, and an end without a beginning does nothing.
func TestCaptiveTime(t *testing.T) {
	s := flowStage(t, "private-or-clear", "")
	forgets := func(actions []Action) bool {
		return slices.ContainsFunc(actions, func(a Action) bool { _, ok := a.(ForgetNames); return ok })
	}
	if forgets(s.act(Captive{})) || len(s.log) > 0 && slices.ContainsFunc(s.log, isOver) {
		t.Errorf("an end without a beginning does something: %q", s.log)
	}
	for _, c := range []struct{ wanted, got time.Duration }{
		{5 * time.Minute, 5 * time.Minute}, {time.Hour, time.Hour}, {24 * time.Hour, time.Hour}, {time.Second, time.Second}, {10 * time.Minute, 10 * time.Minute},
	} {
		if !forgets(s.act(Captive{For: c.wanted})) {
			t.Errorf("for %s: what is remembered of the DNS is believed", c.wanted)
		}
		if got := s.table.Captive().Sub(s.now); got != c.got {
			t.Errorf("for %s: it takes %s", c.wanted, got)
		}
	}
	s.pass(10*time.Minute - time.Second)
	if s.table.Captive().IsZero() {
		t.Error("it is over too early")
	}
	s.pass(2 * time.Second)
	if !s.table.Captive().IsZero() || !slices.ContainsFunc(s.log, isOver) {
		t.Errorf("it goes on until %v: %q", s.table.Captive(), s.log)
	}
	s.act(Captive{For: time.Minute})
	if !forgets(s.act(Captive{})) || !s.table.Captive().IsZero() {
		t.Errorf("by word: it goes on until %v, or forged answers are still believed", s.table.Captive())
	}
}

func isOver(line string) bool { return line == "captive: over; whatever failed is asked for again" }
