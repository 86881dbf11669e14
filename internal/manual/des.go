package manual

import (
	"encoding/binary"
	"errors"
	"slices"
)

// weakDES are the four weak and twelve semi-weak keys of DES (FIPS 74, 3.6;
// RFC 2409, appendix A), with the parity bits taken out.
var weakDES = []uint64{
	0x0000000000000000, 0xfefefefefefefefe, 0x1e1e1e1e0e0e0e0e, 0xe0e0e0e0f0f0f0f0,
	0x00fe00fe00fe00fe, 0xfe00fe00fe00fe00, 0x1ee01ee00ef00ef0, 0xe01ee01ef00ef00e,
	0x00e000e000f000f0, 0xe000e000f000f000, 0x1efe1efe0efe0efe, 0xfe1efe1efe0efe0e,
	0x001e001e000e000e, 0x1e001e000e000e00, 0xe0fee0fef0fef0fe, 0xfee0fee0fef0fef0,
}

// parity are the bits of a DES key that are not used.
const parity = 0x0101010101010101

// checkTripleDES refuses keys with which 3DES is less than it should be: two
// equal neighbours undo each other and leave single DES (RFC 2451, 2.3), and a
// weak key undoes itself. Parity bits are ignored.
func checkTripleDES(key []byte) error {
	var k [3]uint64
	for i := range k {
		k[i] = binary.BigEndian.Uint64(key[8*i:]) &^ parity
	}
	switch {
	case k[0] == k[1]:
		return errors.New("first and second third of the key are equal, which leaves single DES")
	case k[1] == k[2]:
		return errors.New("second and last third of the key are equal, which leaves single DES")
	}
	for _, part := range k {
		if slices.Contains(weakDES, part) {
			return errors.New("a third of the key is a weak key of DES")
		}
	}
	return nil
}
