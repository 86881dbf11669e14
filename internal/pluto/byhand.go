package pluto

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/host"
	"cygnet/internal/ipsec"
	"cygnet/internal/manual"
	"cygnet/internal/whack"
)

// byHand is what people have put into the data plane, beside what the
// connections of IKE want there.
type byHand struct {
	table manual.Table
	// links are devices that tncfg has attached (to the physical device of
	// that name) or detached (empty), whatever interfaces= says.
	links    map[string]string
	debug    map[string]bool // classes of klipsdebug
	shown    []ipsec.Policy  // the SPD that was last set, for debugging
	eclipsed map[ipsec.Selector]bool
	drops    []ipsec.Counter // at the last look
	lookAt   time.Time       // when the next is due; zero: never
}

// world is what IKE's connections have in the data plane.
func (d *Daemon) world() manual.World {
	taken := map[ipsec.SAID]bool{}
	for _, s := range d.o.Plane.SAs() {
		taken[s.ID] = true
	}
	return manual.World{Taken: func(id ipsec.SAID) bool { return taken[id] }, Policies: d.table.Policies()}
}

// applyByHand carries out a change, or nothing of it.
func (d *Daemon) applyByHand(t manual.Table, c manual.Change) error {
	ctx := context.Background()
	old := d.hand.table
	undo := func(done []ipsec.SA) {
		for _, sa := range done {
			if was, ok := old.SA(sa.ID); ok {
				_ = d.put(was)
			} else {
				d.removeSA(sa.ID)
			}
		}
	}
	for i, sa := range c.Add {
		err := d.failedTest(sa)
		if err == nil {
			err = d.o.Plane.AddSA(ctx, sa)
		}
		if err != nil {
			undo(c.Add[:i])
			return planeError{err}
		}
		d.klipsf("spi", "%s is added", sa.ID)
	}
	d.hand.table = t
	if err := d.pushPolicies(); err != nil {
		d.hand.table = old
		d.setPolicies()
		undo(c.Add)
		return planeError{err}
	}
	d.setRoutes()
	for _, id := range c.Delete {
		d.removeSA(id)
		d.klipsf("spi", "%s is deleted", id)
	}
	d.follow()
	for _, s := range c.Scripts {
		d.runScript(s)
	}
	return nil
}

// planeError is a refusal of the data plane, which has an exit code of its own.
type planeError struct{ error }

func (e planeError) Unwrap() error { return e.error }

// pushPolicies makes the data plane's SPD what all want now.
func (d *Daemon) pushPolicies() error {
	if d.batching {
		return nil
	}
	auto := d.table.Policies()
	want := d.hand.table.Merge(auto)
	d.tellEclipsed(auto, want)
	if err := d.o.Plane.SetPolicies(context.Background(), want); err != nil {
		return err
	}
	d.showEroutes(want)
	d.unfollowed = true
	return nil
}

// tellEclipsed warns, once, of a connection that does not get its eroute
// because the same one was made by hand.
func (d *Daemon) tellEclipsed(auto, all []ipsec.Policy) {
	now := map[ipsec.Selector]bool{}
	has := make(map[ipsec.Selector]ipsec.Policy, len(all))
	for _, p := range all {
		has[p.Selector] = p
	}
	for _, p := range auto {
		if q := has[p.Selector]; q.Owner == p.Owner && q.Action == p.Action {
			continue
		}
		now[p.Selector] = true
		if !d.hand.eclipsed[p.Selector] {
			d.log.Warn(fmt.Sprintf("%q: eroute %s was made by hand and stays as it is", p.Owner, p.Selector))
		}
	}
	d.hand.eclipsed = now
}

// doByHand carries out operations on single things, in the loop.
func (d *Daemon) doByHand(r whack.Request) whack.Reply {
	if err := d.stepByHand(r); err != nil {
		return refusedByHand(err)
	}
	return whack.Reply{Final: true}
}

func (d *Daemon) stepByHand(r whack.Request) error {
	t := d.hand.table
	var c manual.Change
	var err error
	switch a := r.Args; r.Op {
	case whack.OpManualDown:
		t, c, err = t.Down(a.Name)
	case whack.OpManualUnroute:
		t, c, err = t.Unroute(a.Name)
	case whack.OpAddSA:
		var sa ipsec.SA
		if sa, err = d.madeSA(a.SA); err == nil {
			t, c, err = t.AddSA(sa, d.world())
		}
	case whack.OpDelSA:
		t, c, err = d.deleteSA(said(a.SAIDs[0]))
	case whack.OpClearSAs:
		t, c = t.ClearSAs()
	case whack.OpGroup:
		var ids []ipsec.SAID
		for _, s := range a.SAIDs {
			ids = append(ids, said(s))
		}
		t, c, err = t.Group(ids)
	case whack.OpErouteAdd, whack.OpErouteReplace:
		t, c, err = t.AddEroute(a.Eroute.Selector(), said(a.Eroute.Said), r.Op == whack.OpErouteReplace, d.world())
	case whack.OpErouteAddIn:
		t, c, err = t.AddIn(a.Eroute.Selector(), said(a.Eroute.Said))
	case whack.OpErouteDel:
		t, c, err = t.DeleteEroute(a.Eroute.Selector(), d.world())
	case whack.OpErouteClear:
		t, c = t.ClearEroutes()
	case whack.OpAttach:
		return d.attachByHand(a.Virtual, a.Physical)
	case whack.OpDetach:
		return d.detachByHand(a.Virtual)
	case whack.OpDetachAll:
		return d.detachAllByHand()
	case whack.OpKlipsDebug:
		return d.setKlipsDebug(a.Debug)
	}
	if err != nil {
		return err
	}
	return d.applyByHand(t, c)
}

// said parses what the decoder of requests has checked.
func said(text string) ipsec.SAID {
	id, _ := ipsec.ParseSAID(text)
	return id
}

func (d *Daemon) madeSA(s *whack.SASpec) (ipsec.SA, error) {
	return manual.Spec{ID: said(s.Said), Src: s.Src, ESP: s.ESP, AH: s.AH, Comp: s.Comp, EncKey: s.Encr.Secret, AuthKey: s.Auth.Secret,
		Replay: s.Replay, Life: s.Life}.SA(func(a netip.Addr) bool { return d.linkOf(a) != nil })
}

// deleteSA deletes SAs that were made by hand. IKE's are its own to delete: the
// peer has to be told.
func (d *Daemon) deleteSA(id ipsec.SAID) (manual.Table, manual.Change, error) {
	t, c, err := d.hand.table.DeleteSA(id)
	if errors.Is(err, manual.ErrNoSA) {
		for _, s := range d.o.Plane.SAs() {
			if s.ID == id {
				return t, c, fmt.Errorf("%s was negotiated for connection %q: take that down instead", id, s.Owner)
			}
		}
	}
	return t, c, err
}

// refusedByHand is the final reply for an error.
func refusedByHand(err error) whack.Reply {
	var plane planeError
	switch {
	case errors.As(err, &plane):
		return failed(whack.ExitPlane, whack.CodeSerious, err.Error())
	case errors.Is(err, manual.ErrRouteBusy):
		return failed(whack.ExitFailed, whack.CodeRouteBusy, err.Error())
	case errors.Is(err, manual.ErrUp), errors.Is(err, manual.ErrSAInUse), errors.Is(err, manual.ErrErouteInUse):
		return failed(whack.ExitFailed, whack.CodeDuplicate, err.Error())
	}
	return failed(whack.ExitFailed, whack.CodeSerious, err.Error())
}

// expiredByHand takes out an SA by hand whose life has ended, with its group.
// Its eroute stays, and drops.
func (d *Daemon) expiredByHand(ev ipsec.Event) bool {
	e, ok := ev.(ipsec.Expire)
	if !ok {
		return false
	}
	if _, ours := d.hand.table.SA(e.ID); !ours {
		return false
	}
	if !e.Hard {
		d.log.Warn(fmt.Sprintf("SA %s, made by hand, nears the end of its life", e.ID))
		return true
	}
	d.log.Warn(fmt.Sprintf("SA %s, made by hand, has come to the end of its life", e.ID))
	t, c, err := d.hand.table.DeleteSA(e.ID)
	if err == nil {
		err = d.applyByHand(t, c)
	}
	if err != nil {
		d.log.Error(err.Error())
	}
	return true
}

// abortByHand takes a connection by hand down whose script failed to bring it
// up or to route it; what it protects is dropped (freeswan.md 4.7).
func (d *Daemon) abortByHand(name string) {
	t, c, err := d.hand.table.Down(name)
	if err != nil {
		return // it is not one of ours, or down again already
	}
	d.log.Warn(fmt.Sprintf("%q: taken down because its script failed", name))
	if err := d.applyByHand(t, c); err != nil {
		d.log.Error(err.Error())
	}
}

// attachByHand is `ipsec tncfg --attach`.
func (d *Daemon) attachByHand(virtual, physical string) error {
	number, ours := strings.CutPrefix(virtual, "ipsec")
	if !ours || number == "" || len(number) > 3 || strings.Trim(number, "0123456789") != "" {
		return fmt.Errorf("%q is not ipsec0, ipsec1 or the like", virtual)
	}
	physical, _, _ = strings.Cut(physical, ":") // an alias names its device
	for _, l := range d.links {
		switch {
		case l.Virtual == virtual:
			return manual.Phrase(fmt.Sprintf("Virtual device is already attached to %s.  Use detach first.", l.Physical))
		case l.Physical == physical:
			return fmt.Errorf("%s is attached to %s already", physical, l.Virtual)
		}
	}
	have, err := d.o.Host.Interfaces()
	if err != nil {
		return err
	}
	n := slices.IndexFunc(have, func(h host.Interface) bool { return h.Name == physical })
	if n < 0 {
		return fmt.Errorf("there is no device %s", physical)
	}
	if err := d.attach(virtual, have[n]); err != nil {
		return planeError{err}
	}
	d.noteLink(virtual, physical)
	d.reorient()
	d.setRoutes()
	return nil
}

// detachByHand is `ipsec tncfg --detach`. The device stays, and what is routed
// into it is dropped.
func (d *Daemon) detachByHand(virtual string) error {
	l := d.linkNamed(virtual)
	if l == nil {
		return fmt.Errorf("%s is not attached", virtual)
	}
	d.detach(l, true)
	d.noteLink(virtual, "")
	d.reorient()
	return nil
}

func (d *Daemon) detachAllByHand() error {
	for _, l := range slices.Clone(d.links) {
		if err := d.detachByHand(l.Virtual); err != nil {
			return err
		}
	}
	return nil
}

func (d *Daemon) noteLink(virtual, physical string) {
	if d.hand.links == nil {
		d.hand.links = map[string]string{}
	}
	d.hand.links[virtual] = physical
	d.klipsf("tunnel", "%s is attached to %q", virtual, physical)
}

// detached reports whether tncfg has detached a device for good.
func (h *byHand) detached(virtual string) bool {
	physical, known := h.links[virtual]
	return known && physical == ""
}

// attached reports whether tncfg has attached it.
func (h *byHand) attached(virtual, physical string) bool {
	return physical != "" && h.links[virtual] == physical
}

// goodbyeByHand runs the scripts that undo what is up or routed by hand,
// deletes the SAs, and removes devices that tncfg has left without a link.
func (d *Daemon) goodbyeByHand() {
	t := d.hand.table
	var scripts []connection.Updown
	for _, name := range t.Routed() {
		next, c, err := t.Down(name)
		if err == nil {
			scripts, t = append(scripts, c.Scripts...), next
		}
		if next, c, err = t.Unroute(name); err == nil {
			scripts, t = append(scripts, c.Scripts...), next
		}
	}
	for _, s := range scripts {
		d.runScript(s)
	}
	_, c := d.hand.table.ClearSAs()
	for _, id := range c.Delete {
		d.removeSA(id)
	}
	for _, virtual := range slices.Sorted(maps.Keys(d.hand.links)) {
		if d.hand.detached(virtual) {
			if err := d.o.Host.RemoveDevice(virtual); err != nil {
				d.log.Error(err.Error())
			}
		}
	}
}

// performByHand carries out those operations that are by hand; nil for others.
func (d *Daemon) performByHand(ctx context.Context, r whack.Request) iter.Seq[whack.Reply] {
	switch r.Op {
	case whack.OpManualUp, whack.OpManualRoute:
		return d.manualConn(ctx, r)
	case whack.OpManualDown, whack.OpManualUnroute, whack.OpAddSA, whack.OpDelSA, whack.OpClearSAs, whack.OpGroup,
		whack.OpErouteAdd, whack.OpErouteAddIn, whack.OpErouteReplace, whack.OpErouteDel, whack.OpErouteClear,
		whack.OpAttach, whack.OpDetach, whack.OpDetachAll, whack.OpKlipsDebug:
		done := gone
		d.call(ctx, func() {
			d.klipsf("pfkey", "%s", r.Op)
			done = d.doByHand(r)
		})
		return one(done)
	}
	return nil
}

// negotiating reports whether an operation is about connections of IKE.
func negotiating(op whack.Op) bool {
	switch op {
	case whack.OpReload, whack.OpDebug, whack.OpShutdown:
		return false
	}
	return true
}

// name is what this daemon is called.
func (d *Daemon) name() string {
	if d.o.NoIKE {
		return "KLIPS"
	}
	return "Pluto"
}
