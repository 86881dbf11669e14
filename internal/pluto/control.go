package pluto

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/whack"
)

var (
	errPlaneGone = errors.New("the data plane has ended")
	errShutdown  = errors.New("shutdown was asked for")
)

// handle serves one control client. It runs in the server's goroutine for
// that client and reaches the daemon's state through call only.
func (d *Daemon) handle(ctx context.Context, peer whack.Peer, r whack.Request, send func(whack.Reply) error) {
	if !r.Op.Reading() {
		d.log.Debug("| control request", "op", r.Op, "name", r.Args.Name, "uid", peer.UID, "pid", peer.PID)
	}
	if r.Op.Reading() {
		d.show(ctx, r, send)
		return
	}
	for reply := range d.perform(ctx, r) {
		if send(reply) != nil {
			return
		}
	}
}

// perform carries out a changing operation and yields the replies, the last
// one Final.
func (d *Daemon) perform(ctx context.Context, r whack.Request) iter.Seq[whack.Reply] {
	if replies := d.performByHand(ctx, r); replies != nil {
		return replies
	}
	if d.o.NoIKE && negotiating(r.Op) {
		return one(failed(whack.ExitNotRunning, whack.CodeDeaf, "Pluto is not running, config setup says pluto=no; `ipsec manual' works without it"))
	}
	name := r.Args.Name
	switch r.Op {
	case whack.OpAdd, whack.OpReplace:
		return d.load(ctx, r)
	case whack.OpUp:
		if d.byDHCP(ctx, name) {
			if r.Args.Async {
				d.startByDHCP(name)
				return one(whack.Reply{Final: true})
			}
			return d.upByDHCP(ctx, name, false)
		}
		return d.ask(ctx, func(id uint64) connection.Event {
			return connection.Up{Waiter: id, Name: name, Async: r.Args.Async}
		})
	case whack.OpDown:
		return d.ask(ctx, func(id uint64) connection.Event { return connection.Down{Waiter: id, Name: name} })
	case whack.OpRoute:
		return d.ask(ctx, func(id uint64) connection.Event { return connection.Route{Waiter: id, Name: name} })
	case whack.OpUnroute:
		return d.ask(ctx, func(id uint64) connection.Event { return connection.Unroute{Waiter: id, Name: name} })
	case whack.OpDelete:
		return d.ask(ctx, func(id uint64) connection.Event {
			delete(d.loaded, name)
			return connection.Delete{Waiter: id, Name: name}
		})
	case whack.OpRekey:
		return d.ask(ctx, func(id uint64) connection.Event {
			return connection.Rekey{Waiter: id, Name: name, Serial: r.Args.Serial}
		})
	case whack.OpDeleteState:
		return d.ask(ctx, func(id uint64) connection.Event {
			return connection.DeleteState{Waiter: id, Serial: r.Args.Serial}
		})
	case whack.OpCrash:
		return d.ask(ctx, func(id uint64) connection.Event { return connection.Crash{Waiter: id, Peer: r.Args.Addr} })
	case whack.OpReload:
		return d.reloadAll(ctx)
	case whack.OpReadGroups:
		return d.rereadGroups(ctx)
	case whack.OpFlush:
		return d.flush(ctx, r.Args.Prefix)
	case whack.OpCaptive:
		return d.ask(ctx, func(id uint64) connection.Event {
			return connection.Captive{Waiter: id, For: time.Duration(r.Args.Seconds) * time.Second}
		})
	}
	return d.order(ctx, r)
}

// order does what needs no waiting.
func (d *Daemon) order(ctx context.Context, r whack.Request) iter.Seq[whack.Reply] {
	done := whack.Reply{Final: true}
	ok := d.call(ctx, func() {
		switch r.Op {
		case whack.OpListen:
			d.deaf = false
			d.loadSecrets()
			d.rescan()
			d.reorient()
			d.refreshGroups()
		case whack.OpUnlisten:
			d.deaf = true
		case whack.OpReadSecrets, whack.OpReadAll:
			if err := d.loadSecrets(); err != nil {
				first, _, _ := strings.Cut(err.Error(), "\n") // the log has them all
				done = failed(whack.ExitConfig, whack.CodeSerious, first)
			}
			d.refreshGroups()
			d.reorient()
		case whack.OpReadCerts, whack.OpReadCAs, whack.OpReadCRLs:
			d.loadCertificates(d.file)
			d.reorient() // leftid=%fromcert
			d.adviseAll()
		case whack.OpDebug:
			d.setDebug(r.Args.Debug)
		case whack.OpMyID:
			id, err := ike.ParseID(r.Args.ID)
			if err != nil {
				done = failed(whack.ExitUsage, whack.CodeBadID, err.Error())
				return
			}
			d.myID = id
			d.reorient()
		case whack.OpShutdown:
			d.blocking = r.Args.Block
			d.stop(errShutdown)
		}
	})
	if !ok {
		done = gone
	}
	return one(done)
}

var gone = whack.Reply{Code: whack.CodeSerious, Text: "the daemon is ending", Final: true, Exit: whack.ExitNotRunning, Reason: whack.ExitNotRunning.String()}

func one(r whack.Reply) iter.Seq[whack.Reply] {
	return func(yield func(whack.Reply) bool) { yield(r) }
}

func failed(exit whack.Exit, code int, text string) whack.Reply {
	return whack.Reply{Code: code, Text: text, Final: true, Exit: exit, Reason: exit.String()}
}

// ask gives the table an event with a waiter and yields what it replies, until
// the final reply or until the client has gone.
func (d *Daemon) ask(ctx context.Context, ev func(id uint64) connection.Event) iter.Seq[whack.Reply] {
	return func(yield func(whack.Reply) bool) {
		var id uint64
		var replies chan whack.Reply
		if !d.call(ctx, func() {
			id, replies = d.newWaiter()
			d.stepTable(ev(id))
		}) {
			yield(gone)
			return
		}
		defer d.call(context.WithoutCancel(ctx), func() {
			delete(d.waiters, id)
			d.stepTable(connection.Abandon{Waiter: id})
		})
		for {
			select {
			case r, open := <-replies:
				if !open {
					yield(failed(whack.ExitFailed, whack.CodeInternal, "too slow in reading replies"))
					return
				}
				if !yield(r) || r.Final {
					return
				}
			case <-ctx.Done():
				return
			case <-d.ended:
				yield(gone)
				return
			}
		}
	}
}

// newWaiter runs in the loop.
func (d *Daemon) newWaiter() (uint64, chan whack.Reply) {
	d.lastWaiter++
	ch := make(chan whack.Reply, replyQueue)
	d.waiters[d.lastWaiter] = ch
	return d.lastWaiter, ch
}

// drainReplies yields what is in the channel already.
func drainReplies(ch chan whack.Reply) iter.Seq[whack.Reply] {
	return func(yield func(whack.Reply) bool) {
		for len(ch) > 0 {
			if !yield(<-ch) {
				return
			}
		}
	}
}

// reply hands a reply of the table to its waiter. One that does not read is
// cut off.
func (d *Daemon) reply(a connection.Reply) {
	if a.Waiter == d.starting && a.Final && a.Waiter != 0 {
		d.startNext()
		return
	}
	ch := d.waiters[a.Waiter]
	if ch == nil {
		return
	}
	r := whack.Reply{Code: a.Code, Text: a.Text, Final: a.Final}
	if a.Final && !a.OK {
		r.Exit = exitOf(a)
		r.Reason = r.Exit.String()
	}
	select {
	case ch <- r:
	default:
		delete(d.waiters, a.Waiter)
		close(ch)
	}
}

func exitOf(a connection.Reply) whack.Exit {
	switch {
	case a.Why != nil:
		return whack.ExitOf(a.Why.Reason)
	case a.Code == whack.CodeUnknown:
		return whack.ExitNoConn
	}
	return whack.ExitFailed
}

// load reads a connection from the configuration, in the client's goroutine,
// and defines it.
func (d *Daemon) load(ctx context.Context, r whack.Request) iter.Seq[whack.Reply] {
	f, conns, refusal := d.readConns(r.Args)
	if refusal != nil {
		return one(*refusal)
	}
	names := d.resolve(ctx, f)
	return d.ask(ctx, func(id uint64) connection.Event {
		for name, a := range names {
			d.names[name] = a
		}
		d.certificatesFor(conns, f)
		list, err := d.orient(conns)
		if err != nil {
			d.waiters[id] <- failed(whack.ExitConfig, whack.CodeClash, err.Error())
			return connection.Abandon{Waiter: id}
		}
		d.advise(list)
		for _, c := range conns {
			d.remember(c.Name, f)
		}
		if r.Op == whack.OpAdd {
			return connection.Add{Waiter: id, Name: r.Args.Name, List: list}
		}
		return connection.Replace{Waiter: id, Name: r.Args.Name, List: list}
	})
}

func (d *Daemon) readConns(a whack.Args) (*config.File, []*config.Conn, *whack.Reply) {
	f, err := d.o.Config(a.Config)
	if err != nil {
		r := failed(whack.ExitConfig, whack.CodeSerious, err.Error())
		return nil, nil, &r
	}
	conns := f.Named(a.Name)
	if len(conns) > 0 {
		return f, conns, nil
	}
	if p := f.Problem(a.Name); p != nil {
		r := failed(whack.ExitConfig, whack.CodeSerious, p.Error())
		return nil, nil, &r
	}
	r := failed(whack.ExitNoConn, whack.CodeUnknown, fmt.Sprintf("%s has no connection %q", cmp.Or(f.Name, "ipsec.conf"), a.Name))
	return nil, nil, &r
}

// reloadAll is SIGHUP and OpReload.
func (d *Daemon) reloadAll(ctx context.Context) iter.Seq[whack.Reply] {
	f, err := d.o.Config("")
	if err != nil {
		d.log.Error(err.Error())
		return one(failed(whack.ExitConfig, whack.CodeSerious, err.Error()))
	}
	names := d.resolve(ctx, f)
	d.notify("RELOADING=1")
	defer d.notify("READY=1")
	if !d.call(ctx, func() { d.reload(f, names) }) {
		return one(gone)
	}
	if len(f.Errors) > 0 {
		return one(failed(whack.ExitConfig, whack.CodeSerious, f.Errors[0].Error()))
	}
	return one(whack.Reply{Final: true})
}

// Reload reads configuration and secrets again, as on SIGHUP.
func (d *Daemon) Reload(ctx context.Context) error {
	for r := range d.reloadAll(ctx) {
		if r.Exit != whack.ExitDone {
			return errors.New(r.Text)
		}
	}
	return nil
}

// Do carries out a request as a control client's would be, for embedders.
func (d *Daemon) Do(ctx context.Context, r whack.Request, each func(whack.Reply)) (final whack.Reply) {
	d.handle(ctx, whack.Peer{}, r, func(r whack.Reply) error {
		if r.Final {
			final = r
		} else if each != nil {
			each(r)
		}
		return nil
	})
	return final
}

// lister is what the JSON documents of whack have in common.
type lister interface{ Lines() []string }

// show answers a reading operation: lines of text, then the same as JSON.
func (d *Daemon) show(ctx context.Context, r whack.Request, send func(whack.Reply) error) {
	var doc lister
	ready := true
	ok := d.call(ctx, func() {
		switch r.Op {
		case whack.OpStatus:
			doc = d.status()
		case whack.OpTrafficStatus:
			doc = d.traffic()
		case whack.OpEroutes:
			doc = d.eroutes()
		case whack.OpSAs:
			doc = d.sas()
		case whack.OpLook:
			doc = d.look()
		case whack.OpLeases:
			doc = d.leaseList()
		case whack.OpListKeys:
			doc = d.publicKeys()
		case whack.OpListCerts, whack.OpListCAs, whack.OpListCRLs:
			doc = d.certList(r)
		case whack.OpGroups:
			doc = d.groups()
		case whack.OpPolicy:
			doc = d.policy(r.Args)
		case whack.OpWhy:
			if w := d.why(r.Args.Name); w != nil {
				doc = w
			}
		case whack.OpDevices:
			doc = d.deviceList()
		case whack.OpKlipsFlags:
			doc = d.klipsFlags()
		}
		ready = d.started
	})
	switch {
	case !ok:
		send(gone)
		return
	case !ready:
		send(failed(whack.ExitNotRunning, whack.CodeSerious, "still starting"))
		return
	case doc == nil && r.Op == whack.OpWhy:
		send(noSuch(r.Args.Name))
		return
	case doc == nil:
		send(whack.Reply{Final: true})
		return
	}
	for _, line := range doc.Lines() {
		if send(whack.Reply{Text: line}) != nil {
			return
		}
	}
	text, err := json.Marshal(doc)
	if err != nil {
		send(failed(whack.ExitFailed, whack.CodeInternal, err.Error()))
		return
	}
	send(whack.Reply{Final: true, JSON: text})
}
