package metrics

import "context"

// Source takes a sample. An error says that there is none, because the daemon is
// too busy or has ended; the request then fails.
type Source func(context.Context) (*Sample, error)

// Sample is all that is shown, as it is at one moment. Lists are in the order in
// which they are to be shown, and no label occurs twice in one.
type Sample struct {
	Version string

	IKESAs   []Value // established, by version of IKE
	ChildSAs float64
	HalfOpen float64 // IKE SAs whose peer has yet to prove itself
	Jobs     float64 // computations that wait for a worker

	// Since the start of the daemon.
	Handshakes  []Value // established as new or as successors, by what and how
	Failures    []Value // of attempts, by what has failed and why
	Lost        []Value // SAs that ended otherwise than by request, by what and why
	Retransmits float64
	Unsent      float64 // messages of IKE that the system did not take
	Contained   float64 // steps that ended in a panic
	Drops       []Value // packets that went nowhere, by reason

	Connections []Connection // by name, Other last
}

// Value is a figure with the values of its labels.
type Value struct {
	Labels []string
	Value  float64
}

// Connection is what one connection, with all its instances, has and has done.
type Connection struct {
	Name     string
	ChildSAs float64
	In, Out  float64 // octets since the start of the daemon
}
