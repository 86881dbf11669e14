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

	// A peer that makes an IKE SA while another carries the connection has
	// installed what we granted by then, whatever the way back takes.
	peerInstalls = time.Second

	// Superseded IKE SAs are deleted after their successor's first Child SA
	// had time to take over, so that no packet meets a trap in between.
	supersedeDelay = 2 * time.Second

	// What a connection covered that has ended drops its packets for so long:
	// whatever was on its way is answered by then. Callers who come and go, one
	// instance after the other, make no more of it than maxResting.
	restTime   = 5 * time.Second
	maxResting = 4096

	// An instance that no IKE SA uses by then was left over from a failure.
	orphanAge = time.Minute

	// A user who asked for down waits at most this long for the SAs to go.
	downWait = 3 * time.Second
)

// Limits of opportunistic encryption, opportunistic.md 4.7 and 10.8.
const (
	// The DNS resolver loses half of what is asked beyond this many at once.
	maxLookups = 64
	// Flows that wait for the DNS or a gateway; all flows; those with anonymous
	// peers.
	maxWaiting = 4096
	maxFlows   = 65536
	maxAnon    = 1024
	// Negotiations with gateways at once, and of those with one network.
	maxNegotiations = 256
	maxPerNet       = 8
	// Gateways that are tried for one flow, and where the alternative is to
	// pass in the clear.
	maxGateways    = 16
	maxGatewaysLax = 3
	// A gateway that has not answered by then gets company.
	nextGateway = time.Second
	// New flows of sources that are not ours: forged ones come in floods.
	newFlowRate  = 200
	newFlowBurst = 1000
	// Failures and good answers are remembered for so many destinations, and
	// answers for so long.
	maxRemembered = 100_000
	rememberMost  = 7 * 24 * time.Hour
	// What the DNS proves is good for a minute at least, lest tunnels flap; when
	// it does not answer, it is asked again after reproveAgain.
	leastProof   = time.Minute
	reproveAgain = 30 * time.Second
	// How often tunnels are looked at, to see whether they are used and whether
	// the peer is there.
	lookEvery = 10 * time.Second
	// What comes in the clear is accepted so long after a tunnel is up, where the
	// group lets it pass at all: the peer may not have switched yet.
	clearGrace = 10 * time.Second
	// A peer that has begun a tunnel is ready for our packets so long after our
	// answer.
	peerSettles = 200 * time.Millisecond
	// A flow that a peer was granted comes up by then, or never.
	grantTime = 10 * time.Second
	// An IKE SA with a stranger ends so long after its last Child SA, and one
	// that never had one sooner.
	strangerIdle = 10 * time.Minute
	strangerVain = 30 * time.Second
	// For the question about ourselves, and before it is asked again; that time
	// doubles.
	selfTimeout   = 10 * time.Second
	selfRetry     = 30 * time.Second
	selfRetryMost = 15 * time.Minute
	// A negotiation that has not ended names its connection as it was at most so
	// many moves ago.
	formerKept = 8
	// Lines about entries that take traffic out of connections.
	maxWarnings = 100
)
