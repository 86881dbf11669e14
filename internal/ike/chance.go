package ike

import (
	"encoding/binary"
	"io"
	"time"
)

// Octets returns n octets of rand. It panics when there are none: a machine
// without randomness must not go on.
func Octets(rand io.Reader, n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(rand, b); err != nil {
		panic("ike: no randomness: " + err.Error())
	}
	return b
}

// Fraction returns a number that is uniform in [0,1).
func Fraction(rand io.Reader) float64 {
	return float64(binary.BigEndian.Uint64(Octets(rand, 8))>>11) / (1 << 53)
}

// jitterPercent keeps peers that started together apart, freeswan.md 6.5.
const jitterPercent = 10

// Jitter returns d, up to a tenth shorter or longer.
func Jitter(rand io.Reader, d time.Duration) time.Duration {
	span := d * jitterPercent / 100
	return d - span + time.Duration(Fraction(rand)*float64(2*span))
}
