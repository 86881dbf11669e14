package connection

import (
	"fmt"
	"slices"

	"cygnet/internal/ike"
)

// Line is a report as log and commands show it, with its class: code and
// `"name" #n: text` (freeswan.md 4.3).
func Line(r ike.Report) (code int, text string) {
	text = r.Fact.String()
	if r.Conn != nil {
		title := r.Conn.Title()
		if r.Serial != 0 {
			title += fmt.Sprintf(" #%d", r.Serial)
		}
		return factCode(r.Fact), title + ": " + text
	}
	if r.Peer.IsValid() {
		return factCode(r.Fact), fmt.Sprintf("packet from %s: %s", r.Peer, text)
	}
	return factCode(r.Fact), text
}

func factCode(f ike.Fact) int {
	switch f := f.(type) {
	case ike.State:
		return f.Code
	case ike.IKEUp, ike.ChildUp:
		return codeSuccess
	case ike.Retransmit:
		return codeRetransmit
	case ike.Failed:
		return failureCode(f.Why)
	case ike.IKEDown:
		if f.Why != nil {
			return failureCode(f.Why)
		}
	case ike.Note:
		if f.Serious {
			return codeSerious
		}
	}
	return codeLog
}

// failureCode is the class of a failure: silence, the notify that tells it, or
// plainly serious.
func failureCode(why *ike.Failure) int {
	switch {
	case why == nil:
		return codeSerious
	case why.Reason == ike.ReasonSilent:
		return codeGaveUp
	case why.Notify != 0:
		return codeNotify + int(why.Notify)
	}
	return codeSerious
}

// tell passes a report on to whoever waits for a connection that it concerns:
// its own, or those that wait for the IKE SA. A failure decides the attempt and
// is told by release.
func (t *Table) tell(r ike.Report, c *conn) {
	if _, failed := r.Fact.(ike.Failed); failed || len(t.waiters) == 0 {
		return
	}
	concerned := []*conn{}
	if c != nil {
		concerned = append(concerned, c)
	}
	if sa := t.ikeBySerial(r.Serial); sa != nil {
		concerned = append(concerned, sa.waiting...)
	}
	code, text := Line(r)
	for _, w := range t.waiters {
		if slices.ContainsFunc(concerned, func(c *conn) bool {
			return slices.Contains(w.conns, c) || slices.Contains(w.down, c)
		}) {
			t.do(Reply{Waiter: w.id, Code: code, Text: text})
		}
	}
}
