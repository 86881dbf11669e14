package ikev2

import "time"

// Limits of the gate, spec adversary.md. The zero value of a field takes the
// default.
type Limits struct {
	HalfOpen     int           // IKE SAs not yet authenticated before everybody is asked for a cookie; 30, negative: none
	PerSource    int           // the same for one source, an IPv4 /24 or IPv6 /64; 3
	MaxPerSource int           // beyond which a source with a good cookie is ignored as well; 64
	MaxHalfOpen  int           // beyond which everybody is; 4096
	HalfOpenLife time.Duration // 30 s
	Errors       int           // error replies in a second, to everybody together; 50
}

func (l Limits) withDefaults() Limits {
	set := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	set(&l.HalfOpen, 30)
	set(&l.PerSource, 3)
	set(&l.MaxPerSource, 64)
	set(&l.MaxHalfOpen, 4096)
	set(&l.Errors, 50)
	if l.HalfOpenLife == 0 {
		l.HalfOpenLife = defaultHalfOpenLife
	}
	return l
}

const (
	// defaultHalfOpenLife outlives the patience of every initiator known
	// between IKE_SA_INIT and IKE_AUTH (strongSwan sends at 0, 4, 11 s).
	defaultHalfOpenLife = 30 * time.Second

	// halfOpenTurns bounds how often that time is granted anew to a peer that goes
	// on, as handshakes with EAP or several key exchanges do.
	halfOpenTurns = 4

	// nonceLen is twice the 128 bits that RFC 7296, 2.10 asks for, and half the
	// key of the largest PRF we have.
	nonceLen = 32

	// maxCookieRounds bounds how often one attempt obeys COOKIE; an honest
	// responder asks once, twice when its secret changes.
	maxCookieRounds = 3

	// maxCookie is the longest cookie, RFC 7296 section 2.6.
	maxCookie = 64

	// cookieLife is how long one secret of the gate makes cookies. They are
	// good for at least as long once more.
	cookieLife = 60 * time.Second

	// Retransmission where the connection does not say, freeswan.md part 7.
	defaultRetransmitFirst = 500 * time.Millisecond
	defaultRetransmitTotal = 60 * time.Second

	// A silent peer is asked again without a pause, as the waiting was one. So
	// there must be some, whatever a connection says (CLK-06).
	leastRetransmitFirst = 10 * time.Millisecond
	leastRetransmitTotal = time.Second

	// lingerLife is how long an ended IKE SA repeats its last answer to a peer
	// that has not got it.
	lingerLife = 20 * time.Second

	// byeTotal is how long we try to tell the peer that an IKE SA is gone.
	// Nothing depends on it: the peer's liveness check finds out as well.
	byeTotal = 8 * time.Second

	// maxByes bounds that where a peer who repeats its request extends it.
	maxByes = 16

	// maxWait is where doubling ends: within the same total a path that loses
	// every third packet gets 22 chances instead of 7.
	maxWait = 3 * time.Second

	// Cached responses are sent again to whoever repeats a request, but no
	// faster than this, lest we be a loudspeaker (adversary.md V2S-03).
	replayBurst  = 16
	replayPerSec = 4

	// Messages that fail the integrity check cost us a MAC each. Honest peers
	// send none; after the burst we look at this many in a second (V2S-50).
	icvBurst  = 2000
	icvPerSec = 200

	// Requests of an authenticated peer, RES-14. A rekey costs us a key
	// exchange; a peer that asks for more than that is closed.
	requestBurst  = 200
	requestPerSec = 20
	maxIgnored    = 1000

	// An address that fails to prove itself this often in a minute is not
	// listened to for a while (V2S-35). Addresses are remembered up to a
	// number; each has cost its owner a whole exchange.
	authFailures   = 10
	authForgive    = authFailures / 60.0 // in a second
	maxFailedAddrs = 1024

	// Fragments. Every path of IPv6 carries 1280 octets. For IPv4 RFC 7383, 2.5.1
	// recommends 576, which hardly any path needs today, and every fragment is
	// one more that can be lost; at 1300 the key of ML-KEM-768 fits into one.
	// Below the least there would be more header than message.
	defaultFragment6 = 1280
	defaultFragment4 = 1300
	leastFragment    = 256

	// A message of the peer may have that many fragments and octets; certificate
	// chains with CRLs stay below half of it.
	maxFragments = 64
	maxAssembled = 64 << 10

	// assemblyLife is how long we wait for the rest of a message after its last
	// fragment; the sender repeats all of them much sooner.
	assemblyLife = 30 * time.Second

	// recentLife is how long a request may be under way and still be known as
	// a copy of one that has been dealt with; initiators repeat theirs for
	// about that long. maxRecent is as many as can be half-open at once.
	recentLife = 60 * time.Second
	maxRecent  = 4096

	// hintsPerSec is how often a message in the clear may set off a liveness
	// check.
	hintsPerSec = 1.0 / 10

	// lastMessageID is where an IKE SA is replaced before its message IDs run
	// out (RFC 7296, 2.2).
	lastMessageID = 1 << 31

	// grace is how long a replaced SA still receives, so that packets under
	// way are not lost. Packets do not stay in the Internet for longer.
	grace = 5 * time.Second

	// Collisions: TEMPORARY_FAILURE is answered with patience, RFC 7296, 2.25.
	retryFirst = 2 * time.Second
	retryMax   = 30 * time.Second
	maxRetries = 10

	// replacedLife is how long a rekeyed SA waits for its Delete, which is the
	// peer's to send, before we send one ourselves.
	replacedLife = 60 * time.Second

	// linkLen is the length of what links IKE_FOLLOWUP_KE to its rekeying.
	linkLen = 8

	// checkPathEvery limits how often data follows a peer to a new address.
	checkPathEvery = time.Second

	// cookie2Len is what RFC 4555, 3.7 has between 8 and 64 octets.
	cookie2Len = 16

	// maxAddrs bounds the addresses and names of one Configuration payload that
	// we look at.
	maxAddrs = 8

	// reauthRetry is how long the next attempt to authenticate anew waits at
	// least.
	reauthRetry = 10 * time.Second

	// leastAuthLife is the shortest AUTH_LIFETIME of a peer that we heed: a
	// whole handshake in a minute, with the user's password or token perhaps, is
	// as much as one peer can ask of us.
	leastAuthLife = time.Minute

	// minRekey keeps a short-lived SA from being rekeyed all the time.
	minRekey = time.Second

	// maxStillborn bounds the Deletes that are remembered for a pair that we
	// have asked for. Who deletes more than one of those is not honest.
	maxStillborn = 16

	// maxChildren bounds the Child SAs of one IKE SA (V2S-43).
	maxChildren = 1000

	// maxTasks bounds what may wait in line.
	maxTasks = 4096

	// maxSelectors bounds the pairs of prefixes of one SA. An odd range may be
	// 62 prefixes; 62 * 62 still fits.
	maxSelectors = 4096

	// maxTS bounds the traffic selectors of one side that we look at. The
	// largest configurations known have about 30.
	maxTS = 64

	// moveEvery limits how often a peer may change its address.
	moveEvery = 10 * time.Second

	// keepAliveEvery is RFC 3948's 20 s.
	keepAliveEvery = 20 * time.Second
)
