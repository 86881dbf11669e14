package connection

import (
	"fmt"

	"cygnet/internal/config"
	"cygnet/internal/ike"
)

// takeDown deletes the SAs of all that a name means, instances included. The
// answer comes when they are gone.
func (t *Table) takeDown(e Down) {
	list := t.named(e.Name)
	if len(list) == 0 {
		t.unknown(e.Waiter, e.Name)
		return
	}
	for _, c := range list {
		t.downOne(c)
	}
	if e.Waiter != 0 {
		w := t.wait(e.Waiter, nil)
		w.down, w.until = list, t.now.Add(downWait)
		t.checkDown()
	}
}

// downOne is ruling A-1: afterwards the eroute is %drop, or %trap where
// traffic may start the connection; never clear.
func (t *Table) downOne(c *conn) {
	if len(c.children) > 0 || c.joined != nil {
		t.log(c.Conn, "terminating SAs using this connection")
	}
	c.up, c.stranded = false, false
	t.callDown(c)
	switch {
	case c.state == Initiating || c.state == Keyed:
		t.become(c, Unrouted)
	case c.state.Routed() && c.Negotiable() && onDemand(c.Description):
		t.become(c, Trapped)
	case c.state.Routed() && c.Negotiable():
		t.become(c, Dropped)
	}
	t.unassign(c)
	t.settle()
	t.cancel(c)
	t.release(c, &ike.Failure{Reason: ike.ReasonDeleted, Why: "the connection was taken down"})
	t.closeChildren(c)
}

func onDemand(d *Description) bool { return d.Auto == config.AutoRoute }

// routes and starts say what auto= does when the daemon starts.
func routes(d *Description) bool { return d.Auto == config.AutoRoute || d.Auto == config.AutoStart }
func starts(d *Description) bool { return d.Auto == config.AutoStart }

// script hands a verb of updown to the runtime.
func (t *Table) script(c *conn, base string) {
	t.do(Updown{c.Description, c.Verb(base)})
}

// Verb is a verb of updown with the suffix that says what is behind us.
func (d *Description) Verb(base string) string {
	verb := base + "-host"
	if !d.Local.Host {
		verb = base + "-client"
	}
	if len(d.Local.TS) > 0 && d.Local.TS[0].Start.Is6() {
		verb += "-v6"
	}
	return verb
}

// callDown runs the user's script with down, if it ran with up before.
func (t *Table) callDown(c *conn) {
	if c.scriptUp {
		c.scriptUp = false
		t.script(c, "down")
	}
}

// updownDone aborts what a failed script stood for (freeswan.md 6.13). A
// failed prepare is of no consequence.
func (t *Table) updownDone(e UpdownDone) {
	c := t.find(key{e.Name, e.Instance})
	if c == nil || e.Err == "" {
		return
	}
	switch e.Verb {
	case "up", "route":
		t.log(c.Conn, fmt.Sprintf("%s command failed (%s): taking the connection down", e.Verb, e.Err))
		t.downOne(c)
	}
}
