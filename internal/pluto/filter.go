package pluto

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/firewall"
	"cygnet/internal/host"
	"cygnet/internal/ipsec"
	"cygnet/internal/whack"
)

// refilter brings the packet filter in line, at once: who is told that a
// connection is up finds the way open. Where that takes long, as with many
// connections that come up together, changes are put together.
func (d *Daemon) refilter() {
	if d.o.Firewall == nil || d.batching || d.stopping || !d.filterAt.IsZero() {
		return
	}
	d.filterDebt = max(0, d.filterDebt-time.Since(d.filtered))
	d.filtered = time.Now()
	if wait := d.filterDebt - filterCredit; wait > 0 {
		d.filterAt = d.filtered.Add(wait)
		return
	}
	d.filterNow()
}

// filterNow makes the packet filter what connections and SPD ask for.
func (d *Daemon) filterNow() {
	began := time.Now()
	err := d.o.Firewall.Set(d.filterState())
	d.filterDebt = max(0, d.filterDebt-began.Sub(d.filtered))
	d.filterAt, d.othersAt, d.filtered = time.Time{}, time.Time{}, time.Now()
	d.filterDebt += filterShare * d.filtered.Sub(began)
	switch {
	case err != nil && (d.filterErr == nil || err.Error() != d.filterErr.Error()):
		d.log.Error(err.Error())
	case err == nil && d.filterErr != nil:
		d.log.Info("the packet filter is in order again")
	}
	d.filterErr = err
}

// filterState is what the packet filter shall do now: let through what
// leftfirewall= opens, and drop what arrives or leaves in the clear although a
// connection protects it.
func (d *Daemon) filterState() firewall.State {
	s := firewall.State{Devices: d.devices(), Forward: d.openPairs()}
	slices.Sort(s.Devices)
	spd := d.hand.table.Merge(d.table.Policies())
	guarded := firewall.FromSPD(spd, func(p ipsec.Policy) bool { return p.Action != ipsec.Pass && !p.ClearIn })
	if len(guarded) > 0 {
		guarded = append(bare(d.o.Plane.SAs()), guarded...)
	}
	if !d.file.Setup.InboundClear {
		s.Inbound = guarded
	}
	s.Outbound = d.outbound(guarded)
	return s
}

// openPairs lists the nets that leftfirewall=yes joins while their connection
// is up (freeswan.md 6.14: nothing where the client is the gateway itself).
func (d *Daemon) openPairs() []firewall.Pair {
	var list []firewall.Pair
	for _, v := range d.table.Views() {
		if !v.Firewall || v.State != connection.Erouted || v.Local.Host {
			continue
		}
		for _, c := range v.Children {
			if c.Using {
				list = append(list, pairsOf(v.Virtual, c.Up.TSLocal, c.Up.TSRemote)...)
			}
		}
	}
	for _, c := range d.hand.table.UpNow() {
		if c.Firewall && !c.Local.Host {
			list = append(list, pairsOf(c.Virtual, c.Local.TS, c.Remote.TS)...)
		}
	}
	return list
}

func pairsOf(device string, local, remote []ipsec.TS) []firewall.Pair {
	var list []firewall.Pair
	for _, l := range local {
		for _, r := range remote {
			if l.Start.Is4() != r.Start.Is4() {
				continue
			}
			for _, src := range l.Prefixes() {
				for _, dst := range r.Prefixes() {
					if p := (firewall.Pair{Device: device, Local: src, Remote: dst}); !slices.Contains(list, p) {
						list = append(list, p)
					}
				}
			}
		}
	}
	return list
}

// outbound keeps what is protected from leaving by the devices that we guard,
// also while no daemon runs and whatever becomes of the routes. Other devices
// are none of our business: between nets behind this gateway the kernel's
// routes decide, as they always did (5.1, D4). So they do for neighbours on
// the guarded device itself.
func (d *Daemon) outbound(guarded []firewall.Policy) []firewall.Policy {
	var list []firewall.Policy
	for _, l := range d.links {
		for _, net := range l.nets {
			any := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			if net.Addr().Is6() {
				any = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			}
			list = append(list, firewall.Policy{Selector: ipsec.Selector{Src: any, Dst: net}, Device: l.Physical})
		}
		for _, p := range guarded {
			p.Device = l.Physical
			list = append(list, p)
		}
	}
	return list
}

// nets lists the networks of a device's addresses, but not those of a single
// address.
func nets(h host.Interface) []netip.Prefix {
	var list []netip.Prefix
	for _, p := range h.Addrs {
		if m := p.Masked(); !p.IsSingleIP() && !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}

// filterChanges delivers a value when others have changed the filter.
func (d *Daemon) filterChanges() <-chan struct{} {
	if d.o.Firewall == nil {
		return nil
	}
	return d.o.Firewall.Changes()
}

// unfilter takes our rules away.
func (d *Daemon) unfilter() {
	if d.o.Firewall == nil {
		return
	}
	if err := d.o.Firewall.Remove(); err != nil {
		d.log.Error(err.Error())
	}
}

// lookAtFilter adds what the rules of the packet filter have met to a look.
func (d *Daemon) lookAtFilter(l *whack.Look) {
	if d.o.Firewall == nil {
		return
	}
	list, err := d.o.Firewall.Counters()
	if err != nil {
		d.log.Error(err.Error())
	}
	for _, c := range list {
		count := whack.Drop{Reason: c.Name, Count: c.Packets}
		if strings.HasPrefix(c.Name, firewall.CountInbound) || strings.HasPrefix(c.Name, firewall.CountOutbound) {
			l.Drops = append(l.Drops, count)
		} else {
			l.Filter = append(l.Filter, count)
		}
	}
}
