package esp

const (
	// MaxWindow is the largest replay window in packets. 8192 is 128 batches
	// of 64: enough for eight workers that each hold one batch (datapath.md 7.11).
	MaxWindow = 8192

	// maxPad is what the Pad Length octet can say, RFC 4303 section 2.5.
	maxPad = 255

	// maxTrailer is the longest padding with Pad Length and Next Header.
	maxTrailer = maxPad + 2

	// idleStates is how many goroutines can use one HMAC or CBC SA at once
	// without allocating; more work too, each paying one allocation per packet.
	idleStates = 8
)
