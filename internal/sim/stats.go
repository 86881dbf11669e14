package sim

import (
	"reflect"
	"time"
)

// Stats counts what a run was made of.
type Stats struct {
	Virtual time.Duration `json:"virtual_ns"`
	Events  int           `json:"events"`

	// IKE datagrams, and what the network did to them.
	Sent      int `json:"datagrams_sent"`
	Lost      int `json:"datagrams_lost"`
	Doubled   int `json:"datagrams_doubled"`
	Late      int `json:"datagrams_late"`
	Corrupted int `json:"datagrams_corrupted"`
	Blocked   int `json:"datagrams_blocked"` // at a cut, or to where nobody is
	TooBig    int `json:"datagrams_too_big"`
	Replayed  int `json:"datagrams_replayed"`
	Forged    int `json:"datagrams_forged"`

	// What was done to nodes and wires.
	Cuts     int `json:"partitions"`
	Crashes  int `json:"crashes"`
	Rebinds  int `json:"nat_rebinds"`
	Moves    int `json:"address_changes"`
	Suspends int `json:"suspends"`
	Leaps    int `json:"clock_leaps"`
	Flushes  int `json:"flushes"`

	WallSteps int `json:"wall_clock_steps"`

	DataSent      int `json:"packets_sent"` // protected
	DataDelivered int `json:"packets_delivered"`
	DataLost      int `json:"packets_lost"` // by the network, at cuts, or to nodes that were away
	DataDoubled   int `json:"packets_doubled"`

	Exchanges   int `json:"exchanges"` // requests, each counted once
	Handshakes  int `json:"handshakes"`
	IKERekeys   int `json:"ike_rekeys"` // these four are counted at each end
	ChildRekeys int `json:"child_rekeys"`
	Retransmits int `json:"retransmissions"`
	Reauths     int `json:"reauthentications"`
	Redirects   int `json:"redirects"`
	Resumes     int `json:"resumptions_tried"`
	Failures    int `json:"failures"`

	// Collisions: requests that crossed one of the peer's.
	CrossedInit   int `json:"collisions_of_ike_sa_init"`
	CrossedCreate int `json:"collisions_of_create_child_sa"`
	CrossedInfo   int `json:"collisions_with_informational"`
}

// Faults is how many there were, of all kinds.
func (s Stats) Faults() int {
	return s.Lost + s.Doubled + s.Late + s.Corrupted + s.Blocked + s.TooBig + s.Replayed + s.Forged +
		s.Cuts + s.Crashes + s.Rebinds + s.Moves + s.Suspends + s.Leaps + s.Flushes + s.WallSteps + s.DataDoubled
}

// Collisions is how many exchanges crossed one of the peer's.
func (s Stats) Collisions() int { return s.CrossedInit + s.CrossedCreate + s.CrossedInfo }

// Plus adds up the statistics of two runs.
func (s Stats) Plus(t Stats) Stats {
	sum := s
	a, b := reflect.ValueOf(&sum).Elem(), reflect.ValueOf(t)
	for i := range a.NumField() {
		a.Field(i).SetInt(a.Field(i).Int() + b.Field(i).Int())
	}
	return sum
}
