package esp

import "errors"

// Errors of sealing and opening. They are returned as they are, without
// wrapping, so the path of a bad packet allocates nothing.
var (
	// ErrShort: the packet cannot hold what its SA prescribes.
	ErrShort = errors.New("packet too short")
	// ErrAuth: the ICV does not verify.
	ErrAuth = errors.New("integrity check failed")
	// ErrReplay: the sequence number was seen before, or is 0.
	ErrReplay = errors.New("replayed packet")
	// ErrLate: the sequence number lies left of the replay window.
	ErrLate = errors.New("packet older than the replay window")
	// ErrPad: the pad length exceeds the payload, or the padding is not 1, 2, 3…
	ErrPad = errors.New("bad padding")
	// ErrExhausted: the SA has no sequence number left, or reached its hard
	// limit of packets. RFC 4303, 3.3.3: it must never cycle.
	ErrExhausted = errors.New("sequence numbers exhausted")
	// ErrHeader: an IP header (AH, IPComp) does not make sense.
	ErrHeader = errors.New("malformed IP header")
)
