// Package ikev1 is the ISAKMP SA machine of IKEv1, RFC 2407, 2408 and 2409, as
// FreeS/WAN spoke it, and the gate before it: Main Mode with pre-shared keys or
// RSA signatures, Quick Mode, Informational, NAT traversal (RFC 3947) and dead
// peer detection (RFC 3706). Aggressive Mode, Mode Config, XAUTH and
// authentication by RSA encryption do not exist here.
//
// Everything is pure: it takes an event and the time, and returns what must
// happen. It reads no clock, does no I/O and holds no private or pre-shared
// key; expensive or secret work leaves as an ike.Job.
//
// SA implements ike.Machine. A message takes this way through it:
//
//	Step → receive → receiveMain | receiveQuick | receiveInfo
//	     → wire.Parse or wire.Open → wire.Shape.Check → HASH → handler
//
// In IKEv1 IPsec SAs do not end with the ISAKMP SA that made them. So a machine
// outlives its ISAKMP SA while it has children (stateBare), a new ISAKMP SA
// between the same two identities takes over the children of the old
// (takeover.go), and a Delete in one may name a child of another. The machines
// of one Config therefore know each other, and all of them, with the gate, are
// called from one goroutine.
//
// A runtime finds the machine of a message by the cookies: the responder's, if it
// is not zero and we have made it; else the initiator's, if we are one. What has
// no machine goes to the Gate. IKEv1 has no flag that says who sent a message.
//
// Every machine ends with the action Done. IKEUp is always followed by exactly
// one IKEDown, ChildUp by exactly one ChildDown; an attempt that never came so
// far ends with Failed instead, once for each connection that waited on it.
package ikev1
