package underlay

import "time"

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

	// maxStreams bounds the TCP connections that others open, and
	// maxStreamsFrom those of one host, of which a NAT may have many behind it.
	// Each holds at most streamQueue messages and one that it reads.
	maxStreams     = 1024
	maxStreamsFrom = 64
	streamQueue    = 256
	// arrivalQueue holds ESP from all streams while the data plane is busy.
	arrivalQueue = 1024

	// strangerTime is how long a stream lives on which no IKE SA stands.
	strangerTime = 30 * time.Second
	// streamIdle ends a stream on which nothing comes: its IKE SA is over, or asks
	// for no liveness. If it lives, the stream is opened again.
	streamIdle = 5 * time.Minute
	// streamWriteTime ends a stream whose peer takes nothing any more.
	streamWriteTime = 20 * time.Second
	// dialTime bounds the opening of a stream.
	dialTime = 10 * time.Second
	// acceptPause is waited when the system can give no connection.
	acceptPause = 100 * time.Millisecond

	// readBuffer holds what comes at once, writeBuffer what leaves at once.
	readBuffer  = 1 << 15
	writeBuffer = 1 << 15
)

// MaxTrain and MaxTrainLen bound Message.Data.
const (
	MaxTrain    = maxTrain
	MaxTrainLen = maxTrainLen
)
