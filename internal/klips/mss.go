package klips

import (
	"encoding/binary"
	"math/bits"
)

// clampMSS lowers the MSS option of a TCP SYN so that segments of that size
// fit into packets of room octets (freeswan.md 5.8, M5).
func clampMSS(b []byte, p packet, room int) {
	if p.l4+tcpHeaderLen > len(b) || b[p.l4+13]&tcpSYN == 0 {
		return
	}
	most := room - ipv4HeaderLen - tcpHeaderLen
	if p.v6 {
		most = room - ipv6HeaderLen - tcpHeaderLen
	}
	at := findMSS(b[p.l4:])
	if at == 0 || most < minMSS {
		return
	}
	tcp := b[p.l4:]
	old := binary.BigEndian.Uint16(tcp[at:])
	if int(old) <= most {
		return
	}
	fresh := uint16(most)
	binary.BigEndian.PutUint16(tcp[at:], fresh)
	if at%2 != 0 {
		// The checksum sees the octets of a value at an odd offset swapped.
		old, fresh = bits.ReverseBytes16(old), bits.ReverseBytes16(fresh)
	}
	adjust(tcp[16:], old, fresh)
}

// minMSS is below what any host sends; clamping further would only hurt.
const minMSS = 64

// findMSS returns the offset of the MSS value in a TCP header, or 0.
func findMSS(tcp []byte) int {
	end := min(int(tcp[12]>>4)*4, len(tcp))
	for i := tcpHeaderLen; i < end && tcp[i] != 0; {
		if tcp[i] == 1 { // no-operation
			i++
			continue
		}
		if i+1 >= end || tcp[i+1] < 2 || i+int(tcp[i+1]) > end {
			return 0
		}
		if tcp[i] == 2 && tcp[i+1] == 4 {
			return i + 2
		}
		i += int(tcp[i+1])
	}
	return 0
}
