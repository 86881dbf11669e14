package pluto

import (
	"context"
	"fmt"

	"cygnet/internal/connection"
	"cygnet/internal/updown"
)

// newScripts makes what runs the commands of leftupdown=. Their ends come back
// to the loop; their output goes to the log at once.
func (d *Daemon) newScripts() *updown.Runner {
	return updown.New(updown.Options{
		Ipsec: d.o.Ipsec, Env: d.o.ScriptEnv,
		Output: func(c updown.Call, line string) {
			d.log.Info(fmt.Sprintf("%q: %s output: %s", c.Name, c.Verb, line))
		},
		Done: func(r updown.Result) { d.scriptDone <- r },
	})
}

// runScript queues a user's updown command behind those of the same
// connection. The loop never waits for it (freeswan.md 6.13).
func (d *Daemon) runScript(a connection.Updown) {
	c := a.Desc
	d.gainAddrs()
	mtu := c.MTU
	if l := d.linkNamed(c.Virtual); mtu == 0 && l != nil {
		mtu = d.mtuOf(l)
	}
	call := updown.Call{Name: c.Name, Instance: c.Instance, Verb: a.Verb, Command: c.Updown,
		Env: updown.Environments(c.Settled(), a.Verb, updown.Link{Interface: c.Virtual, NextHop: c.Hop(), Sources: sourcesOf(c), DNS: c.Assigned.DNS, Domains: c.Assigned.Domains,
			MTU: mtu, Metric: c.Metric, Policy: c.PolicyWords(true)})}
	if err := d.scripts.Submit(call); err != nil {
		d.log.Error(fmt.Sprintf("%q: %s command is not run: %v", c.Name, a.Verb, err))
	}
}

// scriptEnded tells log and table how a script ended.
func (d *Daemon) scriptEnded(r updown.Result) {
	failure := ""
	if line := r.Line(); line != "" {
		failure = r.Err.Error()
		d.log.Warn(fmt.Sprintf("%q: %s", r.Name, line))
	}
	if d.stopping {
		return
	}
	if r.Aborts() {
		d.abortByHand(r.Name)
	}
	d.stepTable(connection.UpdownDone{Name: r.Name, Instance: r.Instance, Verb: r.Base(), Err: failure})
}

// stopScripts runs what still has to be undone, then waits for all scripts.
func (d *Daemon) stopScripts() {
	for _, v := range d.table.Views() {
		if len(v.Updown) == 0 || !v.State.Routed() {
			continue
		}
		if v.State == connection.Erouted {
			d.runScript(connection.Updown{Desc: v.Description, Verb: v.Verb("down")})
		}
		d.runScript(connection.Updown{Desc: v.Description, Verb: v.Verb("unroute")})
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptsEnd)
	defer cancel()
	drained := make(chan struct{})
	go func() { d.scripts.Drain(ctx); close(drained) }()
	for {
		select {
		case r := <-d.scriptDone:
			d.scriptEnded(r)
		case <-drained:
			return
		}
	}
}
