package klips

import "time"

// Limits of this package.
const (
	// maxReads and maxDrained end a batch even while the TUN has more, so
	// that latency and buffers stay bounded (datapath.md 7.3).
	maxReads   = 64
	maxDrained = 450 << 10

	// batchLen holds a TSO superpacket four times over.
	batchLen = 256 << 10
	// maxMessages is one sendmmsg.
	maxMessages = 64

	// padFrom is how many packets a batch has before the next ones are padded to
	// equal lengths, padMost what the Pad Length octet can say.
	padFrom = 8
	padMost = 255

	// slack is room around the read buffer: in front for nothing but
	// alignment, behind for what esp.Scratch.Borrow writes there.
	slack = 512

	// maxNest is how often what comes out of a tunnel may go through another
	// one, in both directions (adversary.md ESP-07).
	maxNest = 4

	// levelLen holds the longest IP packet with all that a bundle adds.
	levelLen = maxPacket + 1024
	// maxPacket is the longest IP packet, and what IPComp may expand to.
	maxPacket = 65535

	// arenaLen is room for what ingress must copy, arenaFree what one packet may
	// need of it: decompressed, and with a new IP header.
	arenaLen  = 256 << 10
	arenaFree = 3 * (maxPacket + 64)

	// flowCacheLen is a power of two; 56 octets each.
	flowCacheLen = 4096

	// maxHolds bounds what packets without an SA can occupy: two packets of
	// at most holdPacket octets each.
	maxHolds   = 4096
	holdPacket = 16 << 10

	// acquireEvery is after how long a flow that is still held is reported
	// once more, in case negotiation ended without a change of policy.
	acquireEvery = 10 * time.Second
	// holdIdle is after how long without packets a hold is forgotten
	// (freeswan.md 5.5 scans every 120 s).
	holdIdle = 120 * time.Second

	// moveEvery is the least time between two PeerMoved of an SA
	// (adversary.md ESP-23).
	moveEvery = time.Second

	// icmpBurst and icmpEvery bound the ICMP errors of one worker.
	icmpBurst = 50
	icmpEvery = 10 * time.Millisecond

	// maxEvents bounds events that pluto has not read. At the bound, events
	// that repeat themselves (Acquire, PeerMoved, Strays) are dropped.
	maxEvents = 16384

	// Path MTU reports below these are forged or useless, and none lasts
	// longer than pathMTUAge (freeswan.md 5.8, M4).
	minPathMTU4 = 576
	minPathMTU6 = 1280
	pathMTUAge  = 10 * time.Minute
	// pathMTUEvery is the least time between two changes of an SA's path MTU
	// (adversary.md ESP-29).
	pathMTUEvery = time.Second

	// maxExtensions bounds the walk along IPv6 extension headers.
	maxExtensions = 8

	// slots of the coalescer, a power of two, and packets per superpacket.
	slots       = 64
	maxCoalesce = 64

	hopLimit = 64 // of packets we make ourselves
)
