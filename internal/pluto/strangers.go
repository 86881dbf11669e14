package pluto

import (
	"context"
	"crypto"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"sync"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
	"cygnet/internal/resolve"
	"cygnet/internal/whack"
)

// Opportunistic encryption and policy groups: the table decides, and here its
// questions go to the DNS and the answers come back.

// strangers is what the daemon keeps of it.
type strangers struct {
	groups   *config.Groups // as last read without an error
	asking   map[uint64]context.CancelFunc
	findings chan connection.Found
	ctx      context.Context // ends with Run
	wg       sync.WaitGroup  // of the questions under way
}

// OwnKeys is implemented by Keys that can say which public keys are this
// machine's, best first. Without it nobody can be told who we are.
type OwnKeys interface{ Own() []crypto.PublicKey }

// NameServerLister is implemented by a Resolver that knows whom it asks: DNS to
// servers elsewhere must not wait for opportunistic encryption, which waits for
// them.
type NameServerLister interface{ Servers() []netip.Addr }

// Forgetful is implemented by a Resolver with a cache, which drops what it knows of
// a name, and of all for an empty one.
type Forgetful interface{ Forget(name string) }

// askJob is how jobs ask about strangers who call (opportunistic.md 5, step 5).
func (d *Daemon) askJob() func(*oe.Inquiry) oe.Finding {
	if d.o.Resolver == nil {
		return nil
	}
	return func(i *oe.Inquiry) oe.Finding {
		ctx, cancel := context.WithTimeout(d.oe.ctx, strangerWait)
		defer cancel()
		return resolve.Ask(ctx, d.o.Resolver, i)
	}
}

// lookup carries a question of the table to the DNS.
func (d *Daemon) lookup(a connection.Lookup) {
	ctx, cancel := context.WithCancel(d.oe.ctx)
	d.oe.asking[a.ID] = cancel
	d.oe.wg.Go(func() {
		found := connection.Found{ID: a.ID, Finding: d.resolveFor(ctx, a)}
		select {
		case d.oe.findings <- found:
		case <-ctx.Done():
		}
	})
}

func (d *Daemon) resolveFor(ctx context.Context, a connection.Lookup) oe.Finding {
	if d.o.Resolver == nil {
		return oe.Finding{Cause: oe.CauseDNS, Why: "there is no DNS to ask"}
	}
	r := d.o.Resolver
	if a.Fresh {
		r = past{r}
	}
	return resolve.Ask(ctx, r, a.Inquiry)
}

// past asks past the cache.
type past struct{ oe.Resolver }

// Lookup implements oe.Resolver.
func (p past) Lookup(ctx context.Context, name string, rrtype uint16) (oe.Answer, error) {
	if f, ok := p.Resolver.(Forgetful); ok {
		f.Forget(name)
	}
	return p.Resolver.Lookup(ctx, name, rrtype)
}

// forgetLookup ends a question that the table does not need answered any more.
func (d *Daemon) forgetLookup(id uint64) {
	if cancel := d.oe.asking[id]; cancel != nil {
		cancel()
		delete(d.oe.asking, id)
	}
}

// endLookups breaks off all questions and waits for them, but not for a Resolver
// that does not heed its context.
func (d *Daemon) endLookups() {
	for id := range d.oe.asking {
		d.forgetLookup(id)
	}
	over := make(chan struct{})
	go func() {
		d.oe.wg.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(lookupsEnd):
		d.log.Warn("a question to the DNS does not end; the daemon ends without it")
	}
}

// forgetNames drops what is remembered of the DNS.
func (d *Daemon) forgetNames() {
	if f, ok := d.o.Resolver.(Forgetful); ok {
		f.Forget("")
	}
}

// foundOut brings an answer to the table.
func (d *Daemon) foundOut(f connection.Found) {
	d.forgetLookup(f.ID)
	d.stepTable(f)
}

// checkUse looks when SAs have last carried a packet.
func (d *Daemon) checkUse(a connection.CheckUse) {
	last := func(list []ipsec.SAID) (at time.Time) {
		for _, id := range list {
			if u, err := d.o.Plane.Usage(context.Background(), id); err == nil && u.LastUsed.After(at) {
				at = u.LastUsed
			}
		}
		return at
	}
	d.stepTable(connection.Used{Owner: a.Owner, In: last(a.In), Out: last(a.Out)})
}

// readGroups reads the policy group files. It may be called from any goroutine.
func (d *Daemon) readGroups(f *config.File) *config.Groups {
	if d.o.Groups == nil {
		return &config.Groups{}
	}
	return d.o.Groups(f)
}

// regroup hands the groups to the table. At the start, lines with errors are
// left out, which is better than nothing: later, nothing changes then
// (opportunistic.md 2.3).
func (d *Daemon) regroup(g *config.Groups, waiter uint64) {
	for _, w := range g.Warnings {
		d.log.Warn(w.Error())
	}
	for _, e := range g.Errors {
		d.log.Error(e.Error())
	}
	d.oe.groups = g
	facts := d.facts()
	ev := connection.Regroup{Waiter: waiter, Mode: d.file.Setup.OE, Rand: d.o.Rand, DNS: resolve.RecordOptions(&d.file.Setup, nil)}
	if d.myID.Kind == ike.IDFQDN {
		ev.Name = d.myID.Data
	}
	if d.o.Resolver == nil {
		ev.Mode = config.OENo
	}
	for _, a := range facts.Ours {
		ev.Ours = append(ev.Ours, a.Addr)
	}
	if k, ok := d.o.Keys.(OwnKeys); ok {
		ev.Own = k.Own()
	}
	if r, ok := d.o.Resolver.(NameServerLister); ok {
		for _, a := range r.Servers() {
			if !a.IsLoopback() && !slices.Contains(ev.Ours, a) {
				ev.Resolvers = append(ev.Resolvers, a)
			}
		}
	}
	dns := ev.DNS
	dns.Own = ev.Ours
	list, errs := connection.OrientGroups(d.file.Conns, g.Entries, facts, dns)
	for _, err := range errs {
		d.log.Error(err.Error())
	}
	ev.List = list
	d.stepTable(ev)
}

// regroupAgain is regroup with the entries of before, after addresses or keys
// have changed.
func (d *Daemon) regroupAgain() {
	if d.oe.groups != nil {
		d.regroup(&config.Groups{Entries: d.oe.groups.Entries}, 0)
	}
}

// refreshGroups reads the groups again; with an error in any file, all stay as
// they were.
func (d *Daemon) refreshGroups() {
	g := d.readGroups(d.file)
	if len(g.Errors) > 0 && d.oe.groups != nil {
		for _, e := range g.Errors {
			d.log.Error(e.Error())
		}
		d.regroupAgain()
		return
	}
	d.regroup(g, 0)
}

// rereadGroups is `ipsec auto --rereadgroups': all files are sound, or nothing
// changes at all (opportunistic.md 2.5).
func (d *Daemon) rereadGroups(ctx context.Context) iter.Seq[whack.Reply] {
	var f *config.File
	if !d.call(ctx, func() { f = d.file }) {
		return one(gone)
	}
	g := d.readGroups(f)
	if len(g.Errors) > 0 {
		return func(yield func(whack.Reply) bool) {
			for _, e := range g.Errors {
				d.log.Error(e.Error())
				if !yield(whack.Reply{Code: whack.CodeSerious, Text: e.Error()}) {
					return
				}
			}
			yield(failed(whack.ExitFailed, whack.CodeSerious, "the policy groups have errors: what was read before stays in force"))
		}
	}
	return func(yield func(whack.Reply) bool) {
		var id uint64
		var replies chan whack.Reply
		if !d.call(ctx, func() {
			id, replies = d.newWaiter()
			d.regroup(g, id)
			delete(d.waiters, id)
		}) {
			yield(gone)
			return
		}
		for r := range drainReplies(replies) {
			if !yield(r) || r.Final {
				return
			}
		}
	}
}

// policy is the document of `ipsec policy'.
func (d *Daemon) policy(args whack.Args) *whack.Policy {
	p := &whack.Policy{Schema: whack.Schema, Groups: []whack.PolicyGroup{}, Flows: []whack.Flow{}}
	for _, g := range d.table.Groups() {
		p.Groups = append(p.Groups, whack.PolicyGroup{Name: g.Name, Mode: g.Mode, Without: g.Without.String(), Sources: g.Sources, Entries: g.Entries})
	}
	for _, f := range d.table.Flows() {
		w := whack.Flow{Src: f.Src, Dst: f.Dst, Group: f.Rule, State: f.State.String(), Seconds: int64(time.Since(f.Since).Seconds()),
			Gateway: f.Gateway, Connection: f.Owner, Reason: f.Why}
		if f.Cause != connection.CauseNone {
			w.Cause = f.Cause.String()
		}
		if f.State == connection.Encrypted {
			w.Level = f.Level.String()
		}
		p.Flows = append(p.Flows, w)
	}
	c := d.table.Opportunity()
	p.Counts = whack.FlowCounts{Begun: c.Begun, Tunnels: c.Tunnels, Clear: c.Clear, Denied: c.Denied, Limited: c.Limited}
	p.Captive = d.captive()
	if args.Flow != nil {
		e := d.table.Explain(ipsec.Flow{Src: args.Flow.Src, Dst: args.Flow.Dst, Proto: args.Flow.Proto, SrcPort: args.Flow.SrcPort, DstPort: args.Flow.DstPort})
		p.Explain = &whack.Explanation{Flow: *args.Flow, Rule: e.Rule, Selector: e.Selector, Action: e.Action, Why: e.Why}
	}
	return p
}

// captive is for how many seconds a captive portal is still borne with, the last
// one counted whole; 0: it is not.
func (d *Daemon) captive() int64 {
	until := d.table.Captive()
	if until.IsZero() {
		return 0
	}
	return int64((time.Until(until) + time.Second - 1) / time.Second)
}

var _ ike.Strangers = (*connection.Table)(nil)

// flushPrefix is what `ipsec policy --flush' names; invalid for everything.
func flushes(p netip.Prefix) []netip.Prefix {
	if p.IsValid() {
		return []netip.Prefix{p}
	}
	return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
}

// flush forgets failures, so that the next packet is looked at anew.
func (d *Daemon) flush(ctx context.Context, p netip.Prefix) iter.Seq[whack.Reply] {
	forgotten := 0
	if !d.call(ctx, func() {
		before := len(d.table.Flows())
		for _, x := range flushes(p) {
			d.stepTable(connection.Flush{Prefix: x})
		}
		forgotten = before - len(d.table.Flows())
	}) {
		return one(gone)
	}
	return one(whack.Reply{Text: fmt.Sprintf("%d failures forgotten", forgotten), Final: true})
}
