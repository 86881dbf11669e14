package sim

import (
	"fmt"
	"net/netip"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// What somebody on the path, or beside it, can do without any key.

// recorder keeps what was sent on each link, for who plays it again.
type recorder map[link][]recorded

type recorded struct {
	from, to netip.AddrPort
	msg      []byte
}

// maxRecorded bounds what is kept of one link.
const maxRecorded = 64

func (r recorder) add(l link, from, to netip.AddrPort, msg []byte) {
	list := append(r[l], recorded{from, to, msg})
	if len(list) > maxRecorded {
		list = append([]recorded(nil), list[len(list)-maxRecorded/2:]...)
	}
	r[l] = list
}

// Replay sends what was sent from one host to another once more, the oldest
// first, past all faults of the wire.
func (n *Network) Replay(from, to netip.Addr) {
	w := n.world
	w.Trace.add("", fmt.Sprintf("$ everything from %s to %s again", w.nameOf(from), w.nameOf(to)))
	for _, r := range n.record[link{from, to}] {
		w.Stats.Replayed++
		n.deliverIKE(r.from, r.to, clone(r.msg), n.IKE.Delay, false)
	}
}

// forgeries are the kinds of message in the clear that Forge makes, by the name
// they have in a script.
var forgeries = map[string]uint16{
	"invalid-ike-spi":    ike.NotifyInvalidIKESPI,
	"invalid-spi":        ike.NotifyInvalidSPI,
	"invalid-syntax":     ike.NotifyInvalidSyntax,
	"no-proposal-chosen": ike.NotifyNoProposalChosen,
	"auth-failed":        ike.NotifyAuthenticationFailed,
	"invalid-major":      ike.NotifyInvalidMajorVersion,
}

// Forge answers the last datagram from one host to another in the name of the
// latter, in the clear: with the SPIs and the message ID that everybody can
// see, and a notify of that kind. It reports whether there was one to answer.
func (n *Network) Forge(from, to netip.Addr, kind uint16) bool {
	list := n.record[link{to, from}]
	for i := len(list) - 1; i >= 0; i-- {
		h, err := ike.ParseHeader(list[i].msg)
		if err != nil {
			continue
		}
		h.Flags ^= ike.FlagResponse | ike.FlagInitiator
		w := n.world
		msg := wire.Append(nil, h, wire.NewNotify(kind, nil))
		w.Stats.Forged++
		w.Trace.add(w.nameOf(from)+" ~~> "+w.nameOf(to), fmt.Sprintf("%-25s N(%s) [forged]", h, ike.NotifyName(kind)))
		n.deliverIKE(list[i].to, list[i].from, msg, n.IKE.Delay, true)
		return true
	}
	return false
}
