package wire

import (
	"bytes"
	"runtime"
	"testing"
)

// Every length field of a message, one after the other, says more than there is:
// in place of any two and any four octets of a message with a payload of every
// kind stands the largest number. Nothing is set aside for octets that are not
// there, so no such message costs more than the honest one, in which they are.
func TestAdv_RES_22_LengthFields(t *testing.T) {
	good := Append(nil, mainHeader, everyPayload()...)
	cost := func(msg []byte) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		Parse(msg)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	honest := cost(good)
	if _, err := Parse(good); err != nil || honest == 0 {
		t.Fatalf("the honest message: %d octets allocated, %v", honest, err)
	}
	const words = 4 << 10 // for the text of an error, and for what else the process does
	for _, width := range []int{2, 4} {
		for at := 0; at+width <= len(good); at++ {
			b := bytes.Clone(good)
			copy(b[at:], []byte{0xff, 0xff, 0xff, 0xff}[:width])
			if n := cost(b); n > 2*honest+words {
				t.Errorf("%d octets at %d: %d octets allocated for %d received, %d for the honest message", width, at, n, len(b), honest)
			}
		}
	}
}
