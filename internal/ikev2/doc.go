// Package ikev2 is the IKE SA machine of IKEv2, RFC 7296, and the gate before
// it. Both are pure: they take an event and the time, and return what must
// happen. They read no clock, do no I/O and hold no private key; expensive or
// secret work leaves as an ike.Job.
//
// SA implements ike.Machine. A message takes this way through it:
//
//	Step → receive (sa.go) → window (window.go) → transitions (transitions.go)
//	     → wire.Open → handler (exchange_*.go) → respond or send
//
// What we ask of the peer is a task (task.go); one is under way at a time,
// which is the window of one request that RFC 7296 section 2.3 starts with.
//
// Every machine ends with the action Done. IKEUp is always followed by exactly
// one IKEDown, ChildUp by exactly one ChildDown; an attempt that never came so
// far ends with Failed instead, once for each connection that waited on it, or
// with Redirected, for all of them.
//
// An SA is called from one goroutine at a time, and so are the SAs that
// replace it on rekeying, because a predecessor moves its children into its
// successor.
package ikev2
