package suite

// KeyLimit is how much may go under one key of a Child SA. Zero: no limit.
type KeyLimit struct {
	Packets uint64 // after so many the key is at its end
	Rekey   uint64 // octets before which another key is made
	End     uint64 // octets after which the key is at its end
}

const (
	// maxPackets: sequence numbers without ESN never cycle (RFC 4303 section
	// 3.3.3), and so many packets are what an AEAD's key bears with ESN too.
	maxPackets = 1<<32 - 1

	// Of blocks of 64 bits, 2^20 are what NIST SP 800-67 grants one key: from 2^32
	// on they collide. What is in flight meanwhile must not stop, so the key ends
	// later, but still a good way before (freeswan.md V24).
	shortBlockRekey = 1 << 20 * 8
	shortBlockEnd   = 1 << 30
)

// KeyLimit returns the limit of the chosen algorithms.
func (c Chosen) KeyLimit() (l KeyLimit) {
	e := c.Encr.Encr
	if !c.ESN || e != nil && e.AEAD {
		l.Packets = maxPackets
	}
	if e != nil && e.NewBlock != nil && e.Block == 8 {
		l.Rekey, l.End = shortBlockRekey, shortBlockEnd
	}
	return l
}
