package klips

import (
	"sync/atomic"

	"cygnet/internal/ipsec"
)

// reason is why a packet went nowhere.
type reason uint8

const (
	// Outbound.
	dropNoEroute reason = iota
	dropDrop
	dropReject
	dropHold
	dropHoldFull
	dropNoSA
	dropExpired
	dropExhausted
	dropTooBig
	dropFragment
	dropOptions
	dropAddress
	dropSend
	// Inbound.
	dropShort
	dropSPI
	dropUnknownSA
	dropSource
	dropReplay
	dropAuth
	dropPad
	dropDummy
	dropNext
	dropMode
	dropPolicy
	dropMartian
	dropECN
	dropBundle
	dropComp
	// Both.
	dropRecursion
	dropInner
	dropTUN

	reasons
)

// The names are labels of metrics: they never change their meaning.
var reasonNames = [reasons]string{
	dropNoEroute:  "no_eroute",
	dropDrop:      "drop",
	dropReject:    "reject",
	dropHold:      "hold",
	dropHoldFull:  "hold_full",
	dropNoSA:      "no_sa_out",
	dropExpired:   "sa_expired",
	dropExhausted: "seq_exhausted",
	dropTooBig:    "too_big",
	dropFragment:  "fragment_in_transport",
	dropOptions:   "options_in_transport",
	dropAddress:   "address_in_transport",
	dropSend:      "send",
	dropShort:     "short",
	dropSPI:       "reserved_spi",
	dropUnknownSA: "no_sa",
	dropSource:    "outer_source",
	dropReplay:    "replay",
	dropAuth:      "auth",
	dropPad:       "padding",
	dropDummy:     "dummy",
	dropNext:      "next_header",
	dropMode:      "mode",
	dropPolicy:    "policy",
	dropMartian:   "martian",
	dropECN:       "ecn",
	dropBundle:    "bundle",
	dropComp:      "ipcomp",
	dropRecursion: "recursion",
	dropInner:     "inner",
	dropTUN:       "tun",
}

// drops counts by reason.
type drops [reasons]atomic.Uint64

func (d *drops) add(r reason, n int) { d[r].Add(uint64(n)) }

func (d *drops) list() []ipsec.Counter {
	out := make([]ipsec.Counter, reasons)
	for i := range out {
		out[i] = ipsec.Counter{Reason: reasonNames[i], Count: d[i].Load()}
	}
	return out
}
