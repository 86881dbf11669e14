package connection

import "cygnet/internal/ipsec"

// State is where a connection stands with regard to routing: Pluto's routing
// states, with the %drop of ruling A-1.
type State uint8

// The states.
const (
	Unrouted   State = iota // nothing in SPD or routing table
	Initiating              // negotiating without a route (auto --up alone)
	Trapped                 // routed; a trap, or the shunt of its type
	Dropped                 // routed; after an explicit down everything is discarded
	Held                    // routed; negotiating
	Failed                  // routed; failureshunt=
	Erouted                 // routed; an SA protects
	Keyed                   // an SA exists, but the route is another connection's
	numStates
)

var stateNames = [numStates]string{"Unrouted", "Initiating", "Trapped", "Dropped", "Held", "Failed", "Erouted", "Keyed"}

// String is the name of the constant.
func (s State) String() string { return stateNames[s] }

// Routed reports whether the connection claims route and eroute.
func (s State) Routed() bool { return s != Unrouted && s != Initiating && s != Keyed }

// Negotiating reports whether an outcome is awaited.
func (s State) Negotiating() bool { return s == Initiating || s == Held }

// word is the state as Pluto's status writes it (freeswan.md 4.6).
func (s State) word() string {
	switch s {
	case Initiating:
		return "unrouted HOLD"
	case Trapped:
		return "prospective erouted"
	case Dropped:
		return "erouted DROP" // ours, for A-1
	case Held:
		return "erouted HOLD"
	case Failed:
		return "fail erouted"
	case Erouted:
		return "erouted"
	case Keyed:
		return "keyed, unrouted"
	}
	return "unrouted"
}

// entitlement orders the claims of several connections to one selector: what
// carries traffic before what would like to.
func (s State) entitlement() int {
	switch s {
	case Erouted:
		return 5
	case Held:
		return 4
	case Failed:
		return 3
	case Trapped:
		return 2
	case Dropped:
		return 1
	}
	return 0
}

// action is what the eroute of a connection in that state does. Without an SA
// to use, Erouted drops.
func (d *Description) action(s State) ipsec.Action {
	switch s {
	case Trapped:
		return d.Shunt
	case Held:
		return d.Hold
	case Failed:
		return d.Failure
	}
	return ipsec.Drop
}
