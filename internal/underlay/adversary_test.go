package underlay

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// What is neither ESP nor IKE on the NAT traversal port goes nowhere, and each
// kind is counted as what it is; a marker with fewer octets behind it than a
// header of IKE is IKE's to refuse (RFC 3948, 2.2 and 2.3).
func TestAdv_V2C_02_OddDatagrams(t *testing.T) {
	_, b, _, addrB := pair(t, false, false)
	for _, r := range b.Receivers() {
		go func() {
			for {
				list, err := r.Read()
				if err != nil {
					return
				}
				t.Errorf("taken for ESP: %v", list)
			}
		}()
	}
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addrB, b.o.NATTPort)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	almost := append(make([]byte, markerLen), "shorter than a header of it"...)
	for _, msg := range [][]byte{{0xff}, {0, 0}, {0xff, 0xff}, {0, 0, 0}, {0, 0, 0, 0}, {0xfe}, {0}, almost} {
		if _, err := c.Write(msg); err != nil {
			t.Fatal(err)
		}
	}
	// One socket has all of one sender, in order: the last is behind the others.
	select {
	case d := <-b.IKE():
		if len(d.Msg) != 27 {
			t.Errorf("%d octets of IKE", len(d.Msg))
		}
	case <-time.After(5 * time.Second):
		t.Fatal("nothing arrived")
	}
	want := map[string]uint64{"nat_keepalive": 1, "short_datagram": 5, "ike_marker_only": 1}
	for _, counter := range b.drops.list() {
		if counter.Count != want[counter.Reason] {
			t.Errorf("%s: %d, want %d", counter.Reason, counter.Count, want[counter.Reason])
		}
	}
}
