package eap

import (
	"encoding/binary"
	"math/bits"
)

// md4 is the hash of RFC 1320. It is broken, and MSCHAPv2 hashes passwords with
// nothing else.
func md4(message []byte) [16]byte {
	b := append([]byte(nil), message...)
	b = append(b, 0x80)
	for len(b)%64 != 56 {
		b = append(b, 0)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(len(message))*8)
	state := [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}
	for ; len(b) > 0; b = b[64:] {
		md4Block(&state, b[:64])
	}
	var sum [16]byte
	for i, v := range state {
		binary.LittleEndian.PutUint32(sum[4*i:], v)
	}
	return sum
}

// md4Rounds are the three rounds of section 3.4: the function, what is added,
// the order in which the words of a block are taken, and the shifts.
var md4Rounds = [3]struct {
	f     func(x, y, z uint32) uint32
	add   uint32
	order [16]uint8
	shift [4]int
}{
	{func(x, y, z uint32) uint32 { return x&y | ^x&z }, 0,
		[16]uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, [4]int{3, 7, 11, 19}},
	{func(x, y, z uint32) uint32 { return x&y | x&z | y&z }, 0x5a827999,
		[16]uint8{0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15}, [4]int{3, 5, 9, 13}},
	{func(x, y, z uint32) uint32 { return x ^ y ^ z }, 0x6ed9eba1,
		[16]uint8{0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15}, [4]int{3, 9, 11, 15}},
}

func md4Block(state *[4]uint32, block []byte) {
	a, b, c, d := state[0], state[1], state[2], state[3]
	for _, r := range md4Rounds {
		for i, k := range r.order {
			x := binary.LittleEndian.Uint32(block[4*k:])
			t := bits.RotateLeft32(a+r.f(b, c, d)+x+r.add, r.shift[i%4])
			a, b, c, d = d, t, b, c
		}
	}
	state[0] += a
	state[1] += b
	state[2] += c
	state[3] += d
}
