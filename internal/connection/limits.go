package connection

import "time"

// Tunable limits of the table.
const (
	// A refusal comes back fast, so the next attempt waits, each time twice as
	// long; a silent peer has used up the time already (freeswan.md 6.5).
	retryFirst = 10 * time.Second
	retryMost  = 5 * time.Minute

	// A peer that deletes an SA of a connection that shall be up is given
	// time to say more (freeswan.md 6.6).
	replaceDelay = 10 * time.Second

	// Two ends that initiate at the same time end with two pairs of SAs. The
	// surplus one goes when the other has surely come into use.
	surplusDelay = 5 * time.Second

	// An INITIAL_CONTACT that crosses an IKE SA of our own this young was said
	// by a peer that did not know of it yet, not by one that has restarted.
	// Rekeying makes no IKE SA young again.
	contactGrace = 10 * time.Second

	// Superseded IKE SAs are deleted after their successor's first Child SA
	// had time to take over, so that no packet meets a trap in between.
	supersedeDelay = 2 * time.Second

	// An instance that no IKE SA uses by then was left over from a failure.
	orphanAge = time.Minute

	// A user who asked for down waits at most this long for the SAs to go.
	downWait = 3 * time.Second
)
