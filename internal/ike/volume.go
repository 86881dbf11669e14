package ike

import (
	"encoding/binary"

	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Volume is the part of a Child SA's lifetime that the data plane counts: what
// the connection allows, what was negotiated in octets (0: nothing was), and what
// the algorithms bear. Soft limits are spread over the eighth before the last, by
// the nonce that we made for the pair, so that two ends seldom begin at once.
func (c *Conn) Volume(octets uint64, l suite.KeyLimit, nonce []byte) (life ipsec.Lifetime) {
	fraction := 0.0
	if len(nonce) >= 4 {
		fraction = float64(binary.BigEndian.Uint32(nonce)) / (1 << 32)
	}
	soft := func(n uint64) uint64 { return n - uint64(float64(n/8)*fraction) - n/8 }
	octets = lesser(c.LifeBytes, octets)
	life.HardBytes, life.SoftBytes = lesser(octets, l.End), soft(lesser(octets, l.Rekey))
	life.HardPackets = lesser(c.LifePackets, l.Packets)
	life.SoftPackets = soft(life.HardPackets)
	return life
}

// lesser of two limits, of which 0 is none.
func lesser(a, b uint64) uint64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
