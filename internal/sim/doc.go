// Package sim runs whole gateways in virtual time: IKE machines, connections,
// a network that loses, doubles, delays, reorders and corrupts, and a data
// plane that checks what it carries. It is for tests, and for `ipsec simulate';
// nothing of a real gateway uses it.
//
// A World is one goroutine's event loop without any clock of its own, so a
// seed is a history: the same seed and commands give the same trace, octet by
// octet (trust.md, I15). Every decision of chance is drawn from a hash of the
// seed, what is decided, where, and how often it was decided there before;
// taking one event out of a run leaves the fate of the others as it was.
//
// A run is a Script, written by hand or drawn from a seed (NewPlan). Every node
// has a clock of its own, which may stop and leap.
//
// A Mesh is the other kind of run: no faults, but very many tunnels.
//
// The safety rules of check*.go hold after every event; those of quiet.go once
// the faults have ended. A breach is kept in World.Breaches and ends nothing,
// so that the trace shows what follows.
package sim
