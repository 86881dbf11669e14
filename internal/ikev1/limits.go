package ikev1

import "time"

// Limits of the gate, spec adversary.md. The zero value of a field takes the
// default.
type Limits struct {
	Greetings    int           // first messages answered and remembered; the oldest makes room; 4096
	PerSource    int           // of one source, an IPv4 /24 or IPv6 /64; 64
	MaxHalfOpen  int           // peers with a good cookie that have not proven themselves; 1024
	MaxPerSource int           // the same for one source; 64
	HalfOpenLife time.Duration // 60 s
	Errors       int           // error replies in a second, to everybody together; 50
}

func (l Limits) withDefaults() Limits {
	set := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	set(&l.Greetings, 4096)
	set(&l.PerSource, 64)
	set(&l.MaxHalfOpen, 1024)
	set(&l.MaxPerSource, 64)
	set(&l.Errors, 50)
	if l.HalfOpenLife == 0 {
		l.HalfOpenLife = defaultHalfOpenLife
	}
	return l
}

const (
	// defaultHalfOpenLife gives an initiator time for the retransmissions of
	// freeswan.md 6.5, which come after 10 and 30 s.
	defaultHalfOpenLife = 60 * time.Second

	// greetingLife is how long an answered first message is remembered. A
	// repeated one is answered with the same cookie even after that.
	greetingLife = 30 * time.Second

	// secretLife is how long the gate makes cookies from one secret,
	// freeswan.md 6.1.
	secretLife = time.Hour

	// nonceLen is what FreeS/WAN sent, 16 octets.
	nonceLen = 16

	// maxOffers bounds the transforms of our first message, so that it fits a
	// packet of 1500 octets with its vendor IDs: fragments are what old
	// firewalls lose. See thin in phase1.go.
	maxOffers = 30

	// maxTransforms bounds those of one Quick Mode proposal.
	maxTransforms = 30

	// Retransmission where the connection does not say, freeswan.md 6.5: after
	// 10 and 30 s, and the end after 70 s.
	defaultRetransmitFirst = 10 * time.Second
	defaultRetransmitTotal = 70 * time.Second

	// maxWaits is where doubling ends, in units of the first wait; and with
	// keyingtries=%forever the first message is sent patientTries times more.
	maxWaits     = 4
	patientTries = 18

	// lingerLife is how long the last message of a finished exchange is
	// repeated to a peer that has not got it, and a refusal to a peer that
	// does not hear it: the peer's own patience.
	lingerLife = 80 * time.Second

	// Cached answers are sent again to whoever repeats a message, but no
	// faster than this, lest we be a loudspeaker.
	replayBurst  = 16
	replayPerSec = 4

	// Messages that do not decrypt to anything cost us that decryption. Honest
	// peers send none; after the burst we look at this many in a second.
	forgedBurst  = 2000
	forgedPerSec = 200

	// Exchanges that an authenticated peer begins, RES-14.
	requestBurst  = 200
	requestPerSec = 20

	// noteBurst and notePerSec bound log lines about what a peer sends.
	noteBurst  = 10
	notePerSec = 0.2

	// Lifetimes. A peer may ask for what it likes; within these an SA neither
	// lasts for ever nor is replaced all the time (V1-23, freeswan.md 6.2).
	minLife    = 60 * time.Second
	maxLife    = 86400 * time.Second
	defaultIKE = time.Hour     // RFC 2407 leaves it open, freeswan.md 6.2: 3600 s
	defaultESP = 8 * time.Hour // RFC 2407, 4.5: 28800 s
	minRekey   = time.Second

	// retryRekey is how soon a failed replacement is tried again, where the
	// failure did not take its own time.
	retryRekey = 30 * time.Second

	// maxQuicks bounds the Quick Modes that we have under way in one ISAKMP
	// SA; the others wait. FreeS/WAN's limit was the peer's memory.
	maxQuicks = 32

	// maxPeerQuicks bounds those that the peer has under way.
	maxPeerQuicks = 64

	// maxWants bounds what may wait in line, maxChildren the IPsec SAs.
	maxWants    = 4096
	maxChildren = 1000

	// maxMessageIDs bounds the message IDs of one ISAKMP SA that are
	// remembered, lest one be used again (V1-16). At half of it the ISAKMP SA
	// is replaced: dead peer detection every few seconds wears one out before
	// its day is over.
	maxMessageIDs = 1 << 15

	// deletesPerMessage keeps a message that ends many SAs below a packet.
	deletesPerMessage = 64

	// Dead peer detection, RFC 3706, 5.5 leaves the numbers to us: once a
	// peer has been silent for dpddelay, it is asked this often.
	dpdRetry = 5 * time.Second
	dpdTries = 5

	// spentLife is how long a pair that was replaced because of its volume
	// goes on receiving.
	spentLife = 2 * time.Minute

	// grace is how long a replaced IPsec SA still receives once it is deleted,
	// so that packets under way are not lost.
	grace = 5 * time.Second

	// moveEvery limits how often a peer may change its address.
	moveEvery = 10 * time.Second

	// keepAliveEvery is RFC 3948's 20 s.
	keepAliveEvery = 20 * time.Second
)
