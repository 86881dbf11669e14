// Package pool gives out addresses: which peer has which, who gets one that is
// free, and what is remembered for a peer that comes back. It is pure: time is
// handed in, and whoever owns a Book keeps what has changed in it wherever it
// shall survive. It knows nothing of IKE: an owner is a text, the peer's
// identity as users see it.
package pool
