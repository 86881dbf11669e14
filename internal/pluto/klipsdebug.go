package pluto

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/whack"
)

// packetClasses are the classes of klipsdebug whose subject is single packets.
// Those are not logged one by one: what goes nowhere is counted by reason, and
// while one of these classes is on the counts that rose are logged.
var packetClasses = []string{"tunnel-xmit", "esp", "ah", "rcv", "ipcomp", "xform"}

// dropLook is how often that is.
const dropLook = time.Second

// setKlipsDebug takes words +class, class and -class, all (but verbose) and
// none.
func (d *Daemon) setKlipsDebug(words []string) error {
	on := map[string]bool{}
	for c := range d.hand.debug {
		on[c] = true
	}
	for _, w := range words {
		name := strings.TrimPrefix(strings.TrimPrefix(w, "+"), "-")
		if name == "comp" {
			name = "ipcomp"
		}
		switch {
		case name == "none":
			clear(on)
		case name == "all":
			for _, c := range whack.KlipsClasses {
				on[c] = on[c] || c != "verbose"
			}
		case !slices.Contains(whack.KlipsClasses, name):
			return fmt.Errorf("unknown flag %q; there are %s", name, strings.Join(whack.KlipsClasses, ", "))
		case strings.HasPrefix(w, "-"):
			delete(on, name)
		default:
			on[name] = true
		}
	}
	d.hand.debug = on
	d.lookAtDrops(false)
	return nil
}

// klipsf logs for one class of klipsdebug.
func (d *Daemon) klipsf(class, format string, args ...any) {
	if d.hand.debug[class] && d.admit("klips:"+class) {
		d.log.Info("klips_debug:" + class + ": " + fmt.Sprintf(format, args...))
	}
}

// showEroutes logs how the SPD has changed.
func (d *Daemon) showEroutes(now []ipsec.Policy) {
	if d.hand.debug["eroute"] {
		for _, p := range without(now, d.hand.shown) {
			d.klipsf("eroute", "%s => %s is set", p.Selector, erouteTarget(p))
		}
		for _, p := range without(d.hand.shown, now) {
			d.klipsf("eroute", "%s => %s is no more", p.Selector, erouteTarget(p))
		}
	}
	d.hand.shown = slices.Clone(now)
}

// without lists those of a that are not in b.
func without(a, b []ipsec.Policy) []ipsec.Policy {
	key := func(p ipsec.Policy) string { return p.Selector.String() + " " + erouteTarget(p) }
	have := map[string]bool{}
	for _, p := range b {
		have[key(p)] = true
	}
	var list []ipsec.Policy
	for _, p := range a {
		if !have[key(p)] {
			list = append(list, p)
		}
	}
	return list
}

func erouteTarget(p ipsec.Policy) string {
	if p.Action == ipsec.Protect && len(p.Bundle) > 0 {
		return p.Bundle[0].String()
	}
	return p.Action.String()
}

// lookAtDrops logs the counts of dropped packets that have risen since the last
// look, if tell is set, and plans the next look while anybody wants to know.
func (d *Daemon) lookAtDrops(tell bool) {
	d.hand.lookAt = time.Time{}
	if !slices.ContainsFunc(packetClasses, func(c string) bool { return d.hand.debug[c] }) {
		return
	}
	d.hand.lookAt = time.Now().Add(dropLook)
	now := d.o.Plane.Drops()
	for i, c := range now {
		if i < len(d.hand.drops) && tell && c.Count > d.hand.drops[i].Count {
			d.log.Info(fmt.Sprintf("klips_debug: %s: %d packets dropped", c.Reason, c.Count-d.hand.drops[i].Count))
		}
	}
	d.hand.drops = now
}

// klipsFlags is the answer to `ipsec klipsdebug`.
func (d *Daemon) klipsFlags() *whack.KlipsFlags {
	k := &whack.KlipsFlags{Schema: whack.Schema, On: []string{}}
	for _, c := range whack.KlipsClasses {
		if d.hand.debug[c] {
			k.On = append(k.On, c)
		}
	}
	return k
}

// groups is which SAs are applied together: bundles by hand, and those of IKE
// with the IP-in-IP SAs of their tunnels.
func (d *Daemon) groups() *whack.Groups {
	g := &whack.Groups{Schema: whack.Schema, Groups: [][]string{}}
	bundles := d.bundles()
	done := map[ipsec.SAID]bool{}
	for _, s := range d.o.Plane.SAs() {
		ids, ok := bundles[s.ID]
		if !ok {
			ids = d.hand.table.Bundle(s.ID)
		}
		if len(ids) == 1 && len(s.Bundle) > 1 { // of IKE, and replaced
			ids = s.Bundle
		}
		if done[ids[0]] {
			continue
		}
		var words []string
		for _, id := range ids {
			done[id] = true
			words = append(words, id.String())
		}
		g.Groups = append(g.Groups, words)
	}
	return g
}

// freeDevices is how many of ipsec0, ipsec1, … are listed though nothing is
// attached to them (freeswan.md 5.1, D1).
const freeDevices = 4

// deviceList is the answer to `ipsec tncfg`.
func (d *Daemon) deviceList() *whack.Devices {
	l := &whack.Devices{Schema: whack.Schema}
	names := d.devices()
	for i := range freeDevices {
		if name := fmt.Sprintf("ipsec%d", i); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		dev := whack.Device{Virtual: name}
		if k := d.linkNamed(name); k != nil {
			dev = whack.Device{Virtual: name, Physical: k.Physical, MTU: d.mtuOf(k), EffectiveMTU: d.effectiveMTU(k), PhysicalMTU: k.wire.MTU()}
		}
		l.Devices = append(l.Devices, dev)
	}
	return l
}
