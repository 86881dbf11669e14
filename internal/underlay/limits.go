package underlay

// Limits of this package.
const (
	// ikeQueue holds the messages of a burst while pluto is busy: at 1500
	// octets 1.5 MB, a second of a thousand new peers.
	ikeQueue = 1024

	// minBatch and maxBatch bound the buffers of 64 KB of one receiver. It
	// starts small so that idle memory stays small, and doubles when full.
	minBatch = 2
	maxBatch = 16
	bufLen   = 1 << 16

	// maxTrain is UDP_MAX_SEGMENTS of every kernel that knows UDP_SEGMENT.
	maxTrain = 64
	// maxTrainLen is the largest UDP payload over IPv4.
	maxTrainLen = 65507

	// sendBatch is how many messages one sendmmsg carries.
	sendBatch = 64

	// socketBuffer is asked for in both directions: 10 ms at 10 Gbit/s.
	socketBuffer = 8 << 20

	ttl = 64 // of outer headers
)

// MaxTrain and MaxTrainLen bound Message.Data.
const (
	MaxTrain    = maxTrain
	MaxTrainLen = maxTrainLen
)
