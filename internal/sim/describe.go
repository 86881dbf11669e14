package sim

import (
	"fmt"
	"net/netip"
	"strings"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// describe renders an IKE datagram in the RFCs' notation.
func (w *World) describe(msg []byte) string {
	if len(msg) == 1 {
		return "NAT keepalive"
	}
	h, ps, readable, err := w.tap.read(msg)
	switch {
	case err != nil && !readable && ps == nil:
		return fmt.Sprintf("%s {%v}", h, err)
	case !readable:
		return fmt.Sprintf("%s SK{unreadable}", h)
	}
	text := w.payloads(ps)
	switch {
	case h.Next == ike.PayloadSKF:
		text = fragment(msg, ps, text)
	case h.Next == ike.PayloadSK:
		text = "SK{" + text + "}"
	}
	return fmt.Sprintf("%-25s %s", h, text)
}

// fragment renders one fragment. What the message says stands with the one that
// completes it, and with every later copy.
func fragment(msg []byte, ps wire.Payloads, text string) string {
	m, err := wire.Parse(msg)
	if err != nil {
		return err.Error()
	}
	f, ok := m.Payloads[0].(wire.SKF)
	if !ok {
		return text
	}
	if _, closed := ps[0].(wire.SKF); closed {
		text = "…"
	}
	return fmt.Sprintf("SKF %d/%d{%s}", f.Number, f.Total, text)
}

// routine are notifies that stand in every message of their exchange; they
// are gathered under short names.
var routine = map[uint16]string{
	ike.NotifyNATDetectionSource: "natS", ike.NotifyNATDetectionDestination: "natD",
	ike.NotifyFragmentationSupported: "frag", ike.NotifySignatureHashAlgorithms: "hash",
	ike.NotifyESPTFCPaddingUnsupported: "noTFC", ike.NotifyNonFirstFragmentsAlso: "frags",
}

func (w *World) payloads(ps wire.Payloads) string {
	var words, short []string
	for _, p := range ps {
		if n, ok := p.(wire.Notify); ok && routine[n.Kind] != "" {
			short = append(short, routine[n.Kind])
			continue
		}
		words = append(words, w.payload(p))
	}
	if len(short) > 0 {
		words = append(words, "N("+strings.Join(short, " ")+")")
	}
	return strings.Join(words, " ")
}

func (w *World) payload(p wire.Payload) string {
	switch p := p.(type) {
	case wire.Notify:
		text := ike.NotifyName(p.Kind)
		if spi, ok := p.ChildSPI(); ok {
			text += " " + w.nameOfSPI(p.Protocol, spi)
		}
		return "N(" + text + ")"
	case wire.Delete:
		if p.Protocol == suite.ProtoIKE {
			return "D(IKE)"
		}
		var names []string
		for _, spi := range p.SPIs {
			names = append(names, w.nameOfSPI(p.Protocol, spi))
		}
		return "D(" + strings.Join(names, " ") + ")"
	case wire.IDi:
		return "IDi(" + p.ID.String() + ")"
	case wire.IDr:
		return "IDr(" + p.ID.String() + ")"
	case wire.SA:
		if len(p.Proposals[0].SPI) == 4 {
			return "SA(" + w.nameOfSPI(p.Proposals[0].Protocol, ipsec.SPI(beUint32(p.Proposals[0].SPI))) + ")"
		}
		return "SA"
	}
	return p.Type().String()
}

func beUint32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// nameOfSPI names an SA by an SPI that came over the wire. SPIs are unique in a
// World as far as chance goes; two SAs that share one get the name of the first.
func (w *World) nameOfSPI(p suite.Protocol, spi ipsec.SPI) string {
	proto := map[suite.Protocol]ipsec.Proto{suite.ProtoESP: ipsec.ESP, suite.ProtoAH: ipsec.AH}[p]
	for _, n := range w.nodes {
		for a, owner := range w.addresses() {
			id := ipsec.SAID{Dst: a, Proto: proto, SPI: spi}
			if owner == n && (n.Plane.sas[id] != nil || w.ledger.ends[w.home(id)] != nil) {
				return w.nameOfSA(id)
			}
		}
	}
	return fmt.Sprintf("0x%08x", uint32(spi))
}

// nameOfSA gives an SA the name of its receiver and a number, as "east.2".
func (w *World) nameOfSA(id ipsec.SAID) string {
	l := &w.ledger
	if id = w.named(id); l.names[id] == "" {
		l.count[id.Dst]++
		l.names[id] = fmt.Sprintf("%s.%d", w.nameOf(id.Dst), l.count[id.Dst])
	}
	return l.names[id]
}

// install records an SA that enters a data plane.
func (t *Trace) install(n *Node, s ipsec.SA) {
	text := fmt.Sprintf("installs %-3s %s", s.Dir, t.world.nameOfSA(s.ID))
	for i, sel := range s.Selectors {
		if i == 0 {
			text += "  "
		} else {
			text += ", "
		}
		text += sel.String()
	}
	t.add(n.Name, text)
}

// policies records the SPD where it has changed.
func (t *Trace) policies(n *Node) {
	if t.Quiet {
		t.sign(fmt.Sprint(n.Name, t.world.Elapsed(), n.Plane.spd.size), nil)
		return
	}
	var words []string
	for _, p := range n.Plane.spd.all() {
		what := p.Action.String()
		if p.Action == ipsec.Protect {
			what = t.world.nameOfSA(p.Bundle[len(p.Bundle)-1])
		}
		words = append(words, p.Selector.String()+" => "+what)
	}
	text := "eroutes " + strings.Join(words, "; ")
	if len(words) == 0 {
		text = "no eroutes"
	}
	if text != n.policies {
		n.policies = text
		t.add(n.Name, text)
	}
}

// fact records a report. Steps that the arrows show already are left out.
func (t *Trace) fact(n *Node, r ike.Report) {
	text := ""
	switch f := r.Fact.(type) {
	case ike.State:
		return
	case ike.ChildUp:
		text = fmt.Sprintf("IPsec SA up: in %s, out %s", t.world.nameOfSA(f.In), t.world.nameOfSA(f.Out))
		if f.Rekeyed != 0 {
			text += fmt.Sprintf(", replaces #%d", f.Rekeyed)
		}
	case ike.ChildDown:
		text = fmt.Sprintf("IPsec SA down: in %s, out %s", t.world.nameOfSA(f.In), t.world.nameOfSA(f.Out))
		switch {
		case f.Replaced:
			text += " (replaced)"
		case f.Why != nil:
			text += " (" + f.Why.Why + ")"
		case f.ByPeer:
			text += " (by the peer)"
		}
	default:
		text = f.String()
	}
	title := ""
	if r.Conn != nil {
		title = fmt.Sprintf("%q", r.Conn.Name)
		if r.Conn.Instance != 0 {
			title += fmt.Sprintf("[%d]", r.Conn.Instance)
		}
		title += " "
	}
	t.add(n.Name, fmt.Sprintf("%s#%d: %s", title, r.Serial, text))
}

// count keeps the statistics.
func (w *World) count(f ike.Fact) {
	switch f := f.(type) {
	case ike.IKEUp:
		w.Stats.Handshakes++
		if f.Rekeyed != 0 {
			w.Stats.Handshakes--
			w.Stats.IKERekeys++
		}
	case ike.ChildUp:
		if f.Rekeyed != 0 {
			w.Stats.ChildRekeys++
		}
	case ike.Retransmit:
		w.Stats.Retransmits++
	case ike.ReauthDue:
		w.Stats.Reauths++
	case ike.Redirected:
		w.Stats.Redirects++
	case ike.Failed:
		w.Stats.Failures++
	}
}

// clear carries a packet that no policy protects.
func (w *World) clear(n *Node, f ipsec.Flow, number uint64) {
	w.inClear(n, f, "sends")
	for _, to := range w.nodes {
		if to != n && to.Addr == f.Dst {
			w.Net.sendData(netip.AddrPortFrom(n.Addr, 0), netip.AddrPortFrom(to.Addr, 0), Packet{Flow: f, Number: number})
		}
	}
}
