package ike

import (
	"math/bits"
	"time"
)

// Phase is where in a span of time the IKE SA stands whose own SPI this is: from
// zero up to the span, evenly, for SPIs are random. What machines do each so
// often they begin at their phase, and a hundred thousand that were made in one
// second do not do it all in one second ever after. The peer has no part in it.
func Phase(spi uint64, span time.Duration) time.Duration {
	if span <= 0 {
		return 0
	}
	hi, _ := bits.Mul64(spi, uint64(span))
	return time.Duration(hi)
}

// Patience is how long the peer of that IKE SA may be silent before it is asked
// whether it lives: dpddelay= at most, and not less than half of it.
func Patience(spi uint64, delay time.Duration) time.Duration { return delay - Phase(spi, delay/2) }
