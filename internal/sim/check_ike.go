package sim

import (
	"fmt"
	"net/netip"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// ikeEnds are the two ends of one IKE SA, as each has reported it: that of its
// initiator and that of its responder.
type ikeEnds [2]*ikeEnd

type ikeEnd struct {
	node       *Node
	suite      string
	mine, peer ike.ID
}

// established checks an IKE SA at the moment that one end takes it for
// established: I1, I2 and I17.
func (w *World) established(n *Node, r ike.Report, up ike.IKEUp) {
	h := n.hosted(r.Serial)
	if h == nil {
		w.breach("I2", "%s: #%d is established and does not exist", n.Name, r.Serial)
		return
	}
	i, resp := h.SPIs()
	side, name := 0, fmt.Sprintf("%s #%d", n.Name, r.Serial)
	if !h.Initiator() {
		side = 1
	}
	e := w.ledger.ikes[[2]uint64{i, resp}]
	if e == nil {
		e = &ikeEnds{}
		w.ledger.ikes[[2]uint64{i, resp}] = e
	}
	if e[side] != nil {
		w.breach("I2", "%s is established a second time with the same SPIs", name)
	}
	e[side] = &ikeEnd{n, up.Suite, up.LocalID, up.RemoteID}
	w.holder(n, name, i, resp, up)
	if o := e[1-side]; o != nil {
		w.sameIKE(name, e[side], o)
	}
	w.best(name, h.Initiator(), n, r.Conn, up)
}

// sameIKE is I1 for IKE SAs.
func (w *World) sameIKE(name string, a, b *ikeEnd) {
	switch {
	case a.node == b.node:
		w.breach("I1", "%s: both ends are %s", name, a.node.Name)
	case a.suite != b.suite:
		w.breach("I1", "%s: %s here, %s at the other end", name, a.suite, b.suite)
	case a.mine != b.peer || a.peer != b.mine:
		w.breach("I1", "%s: %s to %s here, %s to %s at the other end", name, a.mine, a.peer, b.mine, b.peer)
	}
}

// holder is I2: the other end exists, and is who it is taken for.
func (w *World) holder(n *Node, name string, spiI, spiR uint64, up ike.IKEUp) {
	if x := w.holderOf(n, spiI, spiR); x != nil {
		if !x.is(up.RemoteID) {
			w.breach("I2", "%s takes %s for %s", name, x.Name, up.RemoteID)
		}
		return
	}
	// The initiator of a rekeying makes its end when it has the answer.
	if up.Rekeyed == 0 && !w.disturbed() {
		w.breach("I2", "%s is established with nobody", name)
	}
}

// holderOf returns the node that has the other end of an IKE SA of n, or nil.
func (w *World) holderOf(n *Node, spiI, spiR uint64) *Node {
	for _, spi := range []uint64{spiI, spiR} {
		if x := w.holders[spi]; x != nil && x != n && x.partner(spiI, spiR) {
			return x
		}
	}
	return nil
}

// partner reports whether the node has an end of an IKE SA.
func (n *Node) partner(spiI, spiR uint64) bool {
	for _, spi := range []uint64{spiI, spiR} {
		if h := n.bySPI[spi]; h != nil {
			if i, _ := h.SPIs(); i == spiI {
				return true
			}
		}
	}
	return false
}

// best is I17: what was agreed is the first that both ends' configurations have
// in common, whatever the network did.
func (w *World) best(name string, initiator bool, n *Node, c *ike.Conn, up ike.IKEUp) {
	if c == nil || n.tunnels[c.Name] == nil {
		return
	}
	t := n.tunnels[c.Name]
	asks, answers := t.ConnA, t.ConnB
	if initiator != (t.A == n) {
		asks, answers = answers, asks
	}
	var offers []suite.Offer
	for k, p := range asks.IKE {
		offers = append(offers, p.Offer(uint8(k+1), nil))
	}
	if want, _, err := suite.Select(answers.IKE, offers); err != nil || want.String() != up.Suite {
		w.breach("I17", "%s has agreed on %s, both ends would have %s", name, up.Suite, want)
	}
}

// ownBusiness is I14: what a peer brings about concerns SAs with that peer.
// owner is that of an SA to be installed.
func (w *World) ownBusiness(n *Node, h *hosted, owner string, id ipsec.SAID) {
	if h == nil {
		return
	}
	i, r := h.SPIs()
	e := w.ledger.ikes[[2]uint64{i, r}]
	if e == nil || e[0] == nil || e[1] == nil {
		return
	}
	peer := e[0].node
	if peer == n {
		peer = e[1].node
	}
	if t := n.tunnels[owner]; t != nil && t.other(n) != peer {
		w.breach("I14", "%s: what %s asked for makes SAs of %q, which is with %s", n.Name, peer.Name, owner, t.other(n).Name)
	}
	if c := w.ledger.ends[w.named(id)]; owner == "" && c != nil && c.in != nil && c.out != nil && c.in.node != peer && c.out.node != peer {
		w.breach("I14", "%s: what %s asked for removes %s, which is with another", n.Name, peer.Name, w.nameOfSA(id))
	}
}

// named is the name that an SA has at its receiver, as far as senders have told.
func (w *World) named(id ipsec.SAID) ipsec.SAID {
	if own, ok := w.ledger.alias[id]; ok {
		return own
	}
	return w.home(id)
}

// unmoved is I12: nothing that came without the proof of a key, in an exchange
// that needs one, has made, changed or ended anything.
func (w *World) unmoved(n *Node, msg []byte, actions []ike.Action) {
	if h, err := ike.ParseHeader(msg); err != nil || h.Exchange == ike.SAInit || h.Exchange == ike.Resume {
		// These have no proof: that is what IKE_AUTH is for.
		if err != nil && len(actions) > 0 {
			w.breach("I12", "%s: %T after octets that are no IKE message", n.Name, actions[0])
		}
		return
	}
	for _, a := range actions {
		switch a := a.(type) {
		case ike.Send, ike.KeepAlive:
		case ike.Report:
			switch a.Fact.(type) {
			case ike.Note, ike.State, ike.Retransmit:
			default:
				w.breach("I12", "%s: a forged datagram brings about %T", n.Name, a.Fact)
			}
		default:
			w.breach("I12", "%s: a forged datagram brings about %T", n.Name, a)
		}
	}
}

// stranger is an address that has proven nothing to a node.
type stranger struct {
	node *Node
	addr netip.AddrPort
}

// balance is what a stranger has sent, and got, in octets.
type balance struct{ in, out int }

func (w *World) strange(n *Node, a netip.AddrPort) *balance {
	k := stranger{n, a}
	if w.ledger.proof[k] == nil {
		w.ledger.proof[k] = &balance{}
	}
	return w.ledger.proof[k]
}

// opening reports whether a datagram belongs to the part of IKE in which nobody
// has proven to be where it seems to come from.
func opening(msg []byte) bool {
	h, err := ike.ParseHeader(msg)
	return err != nil || h.Exchange == ike.SAInit || h.SPIr == 0
}

// heard and answers are I13: to an address that has not proven to be there no
// more goes than has come from it.
func (w *World) heard(n *Node, ev ike.Received) {
	if opening(ev.Msg) {
		w.strange(n, ev.Remote).in += len(ev.Msg)
	}
}

func (w *World) answers(n *Node, s ike.Send) {
	h, err := ike.ParseHeader(s.Msg)
	if err != nil || !h.Response() || !opening(s.Msg) {
		return
	}
	b := w.strange(n, s.Remote)
	if b.out += len(s.Msg); b.out > b.in {
		w.breach("I13", "%s has sent %d octets to %s, which has sent %d", n.Name, b.out, s.Remote, b.in)
	}
}

// Caps of I7 on one node: IKE SAs of all kinds, and SAs in the data plane,
// reserved ones included, for each of its tunnels.
const (
	maxMachines = 48
	maxSAs      = 64
)

// bounded is I7: whatever is going on, it is not too much of it.
func (w *World) bounded(n *Node) {
	tunnels := 1 + len(n.tunnels) + max(w.Callers, int(n.Table.Opportunity().Begun)) // and those with strangers
	if len(n.machines) > maxMachines*tunnels {
		w.breach("I7", "%s has %d IKE SAs", n.Name, len(n.machines))
	}
	if len(n.Plane.sas) > maxSAs*tunnels {
		w.breach("I7", "%s has %d SAs", n.Name, len(n.Plane.sas))
	}
}
