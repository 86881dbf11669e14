package manual

import (
	"encoding/hex"
	"fmt"
	"strings"

	"cygnet/internal/connection"
	"cygnet/internal/ipsec"
)

// Commands that amount to an operation on a connection, for `--show` and
// `--showonly`. They contain keys, and may be run as they are.

// Up lists what brings the connection up.
func (p *Plan) Up() []string {
	var lines []string
	for _, list := range [][]ipsec.SA{p.Out, p.In} {
		var group []string
		for i, sa := range list {
			lines = append(lines, spiCommand(sa, p.Names[i]))
			group = append(group, "--said "+sa.ID.String())
		}
		if len(group) > 1 {
			lines = append(lines, "ipsec spigrp "+strings.Join(group, " "))
		}
	}
	for _, pol := range p.Policies {
		target := pol.Action.SAID()
		if pol.Action == ipsec.Protect {
			target = pol.Bundle[0]
		}
		lines = append(lines, "ipsec eroute --replace "+selectorWords(pol.Selector)+" --said "+target.String())
	}
	if len(p.In) > 0 { // the others of its group are held to the same
		for _, s := range p.In[0].Selectors {
			lines = append(lines, "ipsec eroute --addin "+selectorWords(s)+" --said "+p.In[0].ID.String())
		}
	}
	lines = append(lines, p.Route()...)
	return append(lines, p.script("up")...)
}

// Down lists what takes it down. Its route stays.
func (p *Plan) Down() []string {
	lines := p.script("down")
	for _, pol := range p.Policies {
		lines = append(lines, "ipsec eroute --replace "+selectorWords(pol.Selector)+" --said "+ipsec.Drop.String())
	}
	for _, list := range [][]ipsec.SA{p.Out, p.In} {
		if len(list) > 0 { // the first takes its group with it
			lines = append(lines, "ipsec spi --said "+list[0].ID.String()+" --del")
		}
	}
	return lines
}

// Route lists what leads its packets into the device.
func (p *Plan) Route() []string {
	lines := append(p.script("prepare"), p.script("route")...)
	for _, r := range p.Desc.Routes() {
		lines = append(lines, "ip route replace "+routeWords(r))
	}
	return lines
}

// Unroute lists what undoes Route.
func (p *Plan) Unroute() []string {
	lines := p.script("unroute")
	for _, r := range p.Desc.Routes() {
		lines = append(lines, "ip route del "+routeWords(r))
	}
	for _, pol := range p.Policies {
		lines = append(lines, "ipsec eroute --del "+selectorWords(pol.Selector))
	}
	return lines
}

func (p *Plan) script(verb string) []string {
	if len(p.Desc.Updown) == 0 {
		return nil
	}
	return []string{"PLUTO_VERB=" + p.Desc.Verb(verb) + " " + strings.Join(p.Desc.Updown, " ")}
}

func spiCommand(sa ipsec.SA, name string) string {
	c := fmt.Sprintf("ipsec spi --said %s --src %s", sa.ID, sa.Src)
	switch sa.ID.Proto {
	case ipsec.Tun:
		family := "--ip4"
		if sa.Src.Is6() {
			family = "--ip6"
		}
		return c + " " + family + " --dst " + sa.ID.Dst.String()
	case ipsec.ESP:
		c += " --esp " + name + " --enckey " + keyText(sa.EncrKey)
	case ipsec.AH:
		c += " --ah " + name
	}
	if sa.IntegKey.Len() > 0 {
		c += " --authkey " + keyText(sa.IntegKey)
	}
	if sa.Replay > 0 {
		c += fmt.Sprintf(" --replay_window %d", sa.Replay)
	}
	return c
}

// keyText writes a key as ranbits does, in groups of 32 bits.
func keyText(k ipsec.Secret) string {
	digits := hex.EncodeToString(k.Bytes())
	var groups []string
	for len(digits) > 0 {
		n := min(8, len(digits))
		groups, digits = append(groups, digits[:n]), digits[n:]
	}
	return "0x" + strings.Join(groups, "_")
}

func selectorWords(s ipsec.Selector) string {
	family := "inet"
	if s.Src.Addr().Is6() {
		family = "inet6"
	}
	w := fmt.Sprintf("--eraf %s --src %s --dst %s", family, s.Src, s.Dst)
	if s.Proto != 0 {
		w += fmt.Sprintf(" --transport-proto %d", s.Proto)
	}
	if !s.SrcPorts.Any() {
		w += fmt.Sprintf(" --src-port %d", s.SrcPorts.Lo)
	}
	if !s.DstPorts.Any() {
		w += fmt.Sprintf(" --dst-port %d", s.DstPorts.Lo)
	}
	return w
}

func routeWords(r connection.KernelRoute) string {
	w := r.Prefix.String()
	if r.NextHop.IsValid() {
		w += " via " + r.NextHop.String()
	}
	w += " dev " + r.Device
	if r.NextHop.IsValid() {
		w += " onlink"
	}
	if r.Source.IsValid() {
		w += " src " + r.Source.String()
	}
	return w
}
