package connection

import (
	"fmt"
	"slices"
	"time"

	"cygnet/internal/ike"
)

// waiter is a user on the control socket who wants to know the outcome.
type waiter struct {
	id    uint64
	conns []*conn // connections whose attempt is not decided yet
	down  []*conn // connections whose Child SAs shall be gone
	until time.Time

	why  *ike.Failure // the first that failed
	code int
	text string
}

func (t *Table) wait(id uint64, conns []*conn) *waiter {
	w := &waiter{id: id, conns: slices.Clone(conns)}
	t.waiters = append(t.waiters, w)
	return w
}

// abandon forgets a waiter who has gone.
func (t *Table) abandon(id uint64) {
	t.waiters = slices.DeleteFunc(t.waiters, func(w *waiter) bool { return w.id == id })
}

func (t *Table) awaited(c *conn) bool {
	return slices.ContainsFunc(t.waiters, func(w *waiter) bool { return slices.Contains(w.conns, c) })
}

// say tells whoever waits for c.
func (t *Table) say(c *conn, code int, text string) {
	for _, w := range t.waiters {
		if slices.Contains(w.conns, c) || slices.Contains(w.down, c) {
			t.do(Reply{Waiter: w.id, Code: code, Text: text})
		}
	}
}

// release tells the waiters of c that its attempt is decided: why is nil, or
// what went wrong. It is said once, in the final reply, whose line names the
// state that failed.
func (t *Table) release(c *conn, why *ike.Failure) {
	for _, w := range slices.Clone(t.waiters) {
		if !slices.Contains(w.conns, c) {
			continue
		}
		w.conns = slices.DeleteFunc(w.conns, func(x *conn) bool { return x == c })
		if why != nil && w.why == nil {
			w.why, w.code, w.text = why, failureCode(why), t.lineOf(c, why)
		}
		if len(w.conns) == 0 {
			t.finish(w, w.why)
		}
	}
}

// lineOf is the line of a failure: as the machine reported it if it is that
// which is being handled now.
func (t *Table) lineOf(c *conn, why *ike.Failure) string {
	if f, ok := t.report.Fact.(ike.Failed); ok && f.Why == why && t.report.Conn == c.Conn {
		_, text := Line(t.report)
		return text
	}
	return fmt.Sprintf("%s: %s", c.Title(), why.Why)
}

// finish sends the last reply.
func (t *Table) finish(w *waiter, why *ike.Failure) {
	t.abandon(w.id)
	t.do(Reply{Waiter: w.id, Code: w.code, Text: w.text, Final: true, Why: why, OK: why == nil})
}

// checkDown answers those who waited for SAs to go.
func (t *Table) checkDown() {
	for _, w := range slices.Clone(t.waiters) {
		if w.down != nil && !slices.ContainsFunc(w.down, func(c *conn) bool { return len(c.children) > 0 }) {
			t.finish(w, nil)
		}
	}
}

// answer says that all is well, once it is; refuse and unknown say that nothing
// was done.
func (t *Table) answer(id uint64) {
	t.settle()
	if id != 0 {
		t.do(Reply{Waiter: id, Final: true, OK: true})
	}
}

func (t *Table) refuse(id uint64, code int, text string) {
	if id != 0 {
		t.do(Reply{Waiter: id, Code: code, Text: text, Final: true})
	}
}

func (t *Table) unknown(id uint64, name string) {
	t.refuse(id, codeUnknown, fmt.Sprintf("no connection named %q", name))
}

// log is a line for the log, and nothing else.
func (t *Table) log(c *ike.Conn, text string) { t.do(Log{Conn: c, Text: text}) }
