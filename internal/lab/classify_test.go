package lab

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

func ip4(src, dst string, proto byte, payload ...byte) []byte {
	b := make([]byte, 34, 34+len(payload))
	binary.BigEndian.PutUint16(b[12:], etherIPv4)
	ip := b[14:]
	ip[0], ip[9] = 0x45, proto
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(payload)))
	copy(ip[12:], netip.MustParseAddr(src).AsSlice())
	copy(ip[16:], netip.MustParseAddr(dst).AsSlice())
	return append(b, payload...)
}

func udp(src, dst uint16, data ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(data)))
	return append(append(b, 0, 0), data...)
}

func TestClassify(t *testing.T) {
	const west, east = "101.101.101.101", "202.202.202.202"
	c := Classifier{Inside: []netip.Prefix{WestNet, EastNet}}
	for _, tt := range []struct {
		name  string
		frame []byte
		want  Kind
	}{
		{"IKE", ip4(west, east, 17, udp(500, 500, 1, 2, 3, 4)...), IKE},
		{"IKE on 4500", ip4(west, east, 17, udp(4500, 4500, 0, 0, 0, 0, 9)...), IKE},
		{"IKE from behind NAT", ip4(west, east, 17, udp(31000, 4500, 0, 0, 0, 0, 9)...), IKE},
		{"ESP in UDP", ip4(west, east, 17, udp(4500, 4500, 1, 2, 3, 4, 9)...), ESPinUDP},
		{"TCP to 4500", ip4(west, east, 6, udp(31000, 4500, make([]byte, 12)...)...), InTCP},
		{"TCP from 4500", ip4(west, east, 6, udp(4500, 31000, make([]byte, 12)...)...), InTCP},
		{"TCP elsewhere", ip4(west, east, 6, udp(31000, 443, make([]byte, 12)...)...), Other},
		{"short TCP", ip4(west, east, 6, udp(31000, 4500, 1)...), Other},
		{"marker in TCP to 4500", ip4(west, east, 6, udp(31000, 4500, []byte("....."+Marker)...)...), Clear},
		{"keep-alive", ip4(west, east, 17, udp(4500, 4500, 0xff)...), KeepAlive},
		{"ESP", ip4(west, east, 50, 1, 2, 3, 4), ESP},
		{"AH", ip4(west, east, 51, 1, 2, 3, 4), AH},
		{"IKE refused", ip4(west, east, 1, append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, ip4(east, west, 17, udp(500, 500, 1, 2, 3, 4)...)[14:]...)...), IKE},
		{"DNS refused", ip4(west, east, 1, append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, ip4(east, west, 17, udp(999, 53, 1, 2, 3, 4)...)[14:]...)...), Other},
		{"refusal of nothing", ip4(west, east, 1, 3, 3, 0, 0, 0, 0, 0, 0, 0x4f), Other},
		{"DNS", ip4(west, east, 17, udp(999, 53, 1, 2, 3, 4)...), Other},
		{"inner source", ip4("192.168.100.1", east, 50, 1, 2, 3, 4), Clear},
		{"inner destination", ip4(west, "192.168.200.77", 1), Clear},
		{"marker", ip4(west, east, 6, []byte("....."+Marker)...), Clear},
		{"marker in an ESP packet", ip4(west, east, 50, []byte("12345678"+Marker)...), Clear},
		{"short UDP", ip4(west, east, 17, 1, 2, 3), Other},
		{"short IP", ip4(west, east, 17)[:20], Other},
		{"runt", []byte{1, 2, 3}, Other},
		{"ARP", append(make([]byte, 12), 0x08, 0x06, 0, 1), Link},
	} {
		if got := c.Classify(tt.frame).Kind; got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func ip6(next byte, payload ...byte) []byte {
	b := make([]byte, 54, 54+len(payload))
	binary.BigEndian.PutUint16(b[12:], etherIPv6)
	ip := b[14:]
	ip[0], ip[6] = 0x60, next
	binary.BigEndian.PutUint16(ip[4:], uint16(len(payload)))
	ip[8], ip[24] = 0x20, 0x20
	return append(b, payload...)
}

func TestClassifyIPv6(t *testing.T) {
	c := Classifier{}
	for _, tt := range []struct {
		name  string
		frame []byte
		want  Kind
	}{
		{"neighbour solicitation", ip6(58, 135, 0, 0, 0), Link},
		{"listener report behind hop-by-hop", ip6(0, 58, 0, 5, 2, 0, 0, 1, 0, 143, 0), Link},
		{"echo request", ip6(58, 128, 0, 0, 0), Other},
		{"ESP", ip6(50, 1, 2, 3, 4), ESP},
		{"IKE", ip6(17, udp(500, 500, 1)...), IKE},
		{"first fragment of IKE", ip6(44, append([]byte{17, 0, 0, 1, 0, 0, 0, 9}, udp(500, 500, 1)...)...), IKE},
		{"later fragment", ip6(44, append([]byte{17, 0, 1, 0, 0, 0, 0, 9}, udp(500, 500, 1)...)...), Other},
	} {
		if got := c.Classify(tt.frame).Kind; got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Whatever stands on a wire, the classifier does not panic.
func FuzzClassify(f *testing.F) {
	f.Add(ip4("101.101.101.101", "202.202.202.202", 17, udp(500, 500, 1)...))
	f.Add(ip6(44, 17, 0, 0, 1, 0, 0, 0, 9))
	f.Add(ip6(0, 58, 255, 5, 2, 0, 0, 1, 0, 143, 0))
	c := Classifier{Inside: []netip.Prefix{WestNet}}
	f.Fuzz(func(t *testing.T, frame []byte) { c.Classify(frame) })
}
