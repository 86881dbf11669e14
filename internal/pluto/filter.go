package pluto

import (
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/firewall"
	"cygnet/internal/host"
	"cygnet/internal/ipsec"
)

// refilter asks for the packet filter to be brought in line. Many changes at
// once, as at start-up, are one transaction; a single one is not delayed.
func (d *Daemon) refilter() {
	if d.o.Firewall == nil || d.stopping || !d.filterAt.IsZero() {
		return
	}
	d.filterAt = time.Now()
	if next := d.filtered.Add(filterPause); next.After(d.filterAt) {
		d.filterAt = next
	}
}

// filterNow makes the packet filter what connections and SPD ask for.
func (d *Daemon) filterNow() {
	d.filterAt, d.filtered = time.Time{}, time.Now()
	err := d.o.Firewall.Set(d.filterState())
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
	guarded := firewall.FromSPD(spd, func(p ipsec.Policy) bool { return p.Action != ipsec.Pass })
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
