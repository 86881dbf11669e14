package pluto

import (
	"fmt"
	"os"
	"slices"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
	"cygnet/internal/whack"
)

// tuns maps the innermost outbound SA of each tunnel to the IP-in-IP SA that
// heads its bundle in the books of KLIPS, and the inbound likewise.
func (d *Daemon) tuns() map[ipsec.SAID]ipsec.SAID {
	m := map[ipsec.SAID]ipsec.SAID{}
	for _, v := range d.table.Views() {
		for _, c := range v.Children {
			if !c.TunOut.IsZero() {
				m[c.Up.Outs()[0]], m[c.Up.Ins()[0]] = c.TunOut, c.TunIn
			}
		}
	}
	return m
}

// bundles maps each SA of IKE to all that are applied together with it, the
// IP-in-IP SA of a tunnel first.
func (d *Daemon) bundles() map[ipsec.SAID][]ipsec.SAID {
	m := map[ipsec.SAID][]ipsec.SAID{}
	for _, v := range d.table.Views() {
		for _, c := range v.Children {
			out, in := c.Up.Outs(), c.Up.Ins()
			if !c.TunOut.IsZero() {
				out, in = append([]ipsec.SAID{c.TunOut}, out...), append([]ipsec.SAID{c.TunIn}, in...)
			}
			for _, list := range [][]ipsec.SAID{out, in} {
				for _, id := range list {
					m[id] = list
				}
			}
		}
	}
	return m
}

// eroutes is the outbound SPD.
func (d *Daemon) eroutes() *whack.Eroutes {
	return &whack.Eroutes{Schema: whack.Schema, Eroutes: d.erouteList()}
}

func (d *Daemon) erouteList() []whack.Eroute {
	tuns := d.tuns()
	list := []whack.Eroute{}
	for _, p := range d.o.Plane.Policies() {
		e := whack.Eroute{Packets: p.Packets, Src: p.Selector.Src, Dst: p.Selector.Dst, Proto: p.Selector.Proto,
			SrcPort: single(p.Selector.SrcPorts), DstPort: single(p.Selector.DstPorts), Owner: p.Owner, Selector: p.Selector.String(),
			SAID: p.Action.SAID()}
		if p.Action == ipsec.Protect {
			bundle := p.Bundle
			if len(bundle) > 0 {
				if tun, ok := tuns[bundle[0]]; ok {
					bundle = append([]ipsec.SAID{tun}, bundle...)
				}
				e.SAID = bundle[0]
			}
			for _, id := range bundle {
				e.Bundle = append(e.Bundle, id.String())
			}
		}
		e.Target = e.SAID.String()
		list = append(list, e)
	}
	return list
}

// single is a port range as the eroute listing has it: one port, or 0 for any.
func single(p ipsec.Ports) uint16 {
	if p.Any() {
		return 0
	}
	return p.Lo
}

// sas is the SAD, each tunnel's IP-in-IP SA before its ESP SA.
func (d *Daemon) sas() *whack.SAs { return &whack.SAs{Schema: whack.Schema, SAs: d.saList()} }

func (d *Daemon) saList() []whack.SA {
	tuns := d.tuns()
	list := []whack.SA{}
	for _, s := range d.o.Plane.SAs() {
		sa := saLine(s)
		if tun, ok := tuns[s.ID]; ok {
			t := whack.SA{Said: tun.String(), Transform: "IPIP", Dir: sa.Dir, Src: sa.Src, Mode: sa.Mode, Policy: sa.Policy,
				Age: sa.Age, Idle: sa.Idle, Used: sa.Used, Bytes: sa.Bytes, Packets: sa.Packets, Owner: sa.Owner}
			sa.Policy = nil // it stands on the IPIP SA, as in KLIPS
			list = append(list, t)
		}
		list = append(list, sa)
	}
	return list
}

func saLine(s ipsec.SAStatus) whack.SA {
	sa := whack.SA{Said: s.ID.String(), Dir: s.Dir.String(), Src: s.Src, Mode: s.Mode.String(), Replay: s.Replay, Seq: s.Seq,
		ESN: s.Transform.ESN, Age: s.Age, Bytes: s.Usage.Bytes, Packets: s.Usage.Packets, Owner: s.Owner,
		SoftBytes: s.Life.SoftBytes, HardBytes: s.Life.HardBytes, SoftPackets: s.Life.SoftPackets, HardPackets: s.Life.HardPackets,
		HardTime: int64(s.Life.HardTime.Seconds())}
	describe(&sa, s.ID.Proto, s.Transform)
	sa.Before, sa.After = s.CompressedFrom, s.CompressedTo
	if s.Mode == ipsec.Tunnel {
		for _, sel := range s.Selectors {
			sa.Policy = append(sa.Policy, sel.Src.String()+"->"+sel.Dst.String())
		}
	}
	if !s.Usage.LastUsed.IsZero() {
		sa.Used, sa.Idle = true, int64(time.Since(s.Usage.LastUsed).Seconds())
	}
	if s.Encap != (ipsec.Encap{}) {
		proto := "udp"
		if s.Encap.Stream {
			proto = "tcp"
		}
		sa.Encap = fmt.Sprintf("%s:%d->%d", proto, s.Encap.LocalPort, s.Encap.RemotePort)
	}
	if len(s.Window) > 0 {
		sa.Window = "0x"
		for i, w := range slices.Backward(s.Window) {
			if sa.Window == "0x" && (w != 0 || i == 0) {
				sa.Window += fmt.Sprintf("%x", w)
			} else if sa.Window != "0x" {
				sa.Window += fmt.Sprintf("%016x", w)
			}
		}
	}
	for _, e := range []whack.Drop{{Reason: "max_seq_diff", Count: s.MaxSeqDiff}, {Reason: "ooo_errs", Count: s.ReplayErrs},
		{Reason: "auth_errs", Count: s.AuthErrs}, {Reason: "encr_pad_errs", Count: s.PadErrs}, {Reason: "policy_errs", Count: s.PolicyErrs}} {
		if e.Count > 0 {
			sa.Errors = append(sa.Errors, e)
		}
	}
	return sa
}

// describe fills in the name that KLIPS gives a transform, and its sizes. The
// keys of the hashes have the length of their digests (RFC 2403, 2404, 4868).
func describe(sa *whack.SA, p ipsec.Proto, t ipsec.Transform) {
	switch p {
	case ipsec.Tun:
		sa.Transform = "IPIP"
		return
	case ipsec.Comp:
		sa.Transform = "COMP_DEFLATE"
		return
	case ipsec.AH:
		sa.Transform = "AH"
	}
	if e := suite.EncrByID(t.Encr); e != nil && t.Encr != 0 {
		sa.Transform, sa.EncrBits, sa.ICVBits = e.KLIPS, t.KeyBits, e.ICV*8
		if sa.EncrBits == 0 && len(e.KeyBits) > 0 {
			sa.EncrBits = e.KeyBits[0]
		}
	}
	if i := suite.IntegByID(t.Integ); i != nil && t.Integ != 0 {
		sa.IntegBits, sa.DigestBits, sa.ICVBits = i.Key*8, i.Key*8, i.ICV*8
		sa.Transform += "_" + i.KLIPS
	}
}

// look is the overview of `ipsec look`.
func (d *Daemon) look() *whack.Look {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	l := &whack.Look{Schema: whack.Schema, Host: name, Time: time.Now().Format(time.UnixDate), Eroutes: d.erouteList(), SAs: d.saList(),
		Drops: []whack.Drop{}, Devices: []whack.Device{}, Routes: []string{}}
	for _, c := range d.o.Plane.Drops() {
		l.Drops = append(l.Drops, whack.Drop{Reason: c.Reason, Count: c.Count})
	}
	d.lookAtFilter(l)
	for _, k := range d.links {
		l.Devices = append(l.Devices, whack.Device{Virtual: k.Virtual, Physical: k.Physical, MTU: d.mtuOf(k), EffectiveMTU: d.effectiveMTU(k), PhysicalMTU: k.wire.MTU()})
	}
	routes, err := d.o.Host.Routes(d.devices())
	if err != nil {
		d.log.Error(err.Error())
	}
	for _, r := range routes {
		l.Routes = append(l.Routes, r.String())
	}
	return l
}

// effectiveMTU is the longest packet that certainly fits all tunnels of a
// device now.
func (d *Daemon) effectiveMTU(k *link) int {
	mtu := d.mtuOf(k)
	for _, s := range d.o.Plane.SAs() {
		if s.Dir == ipsec.Out && s.EffectiveMTU > 0 {
			mtu = min(mtu, s.EffectiveMTU)
		}
	}
	return mtu
}
