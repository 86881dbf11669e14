package ike

import (
	"testing"

	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Of several limits the least counts, and soft ones lie in the eighth before the
// last eighth, which is up to the nonce.
func TestAdv_ESP_37_Volume(t *testing.T) {
	des3 := suite.KeyLimit{Packets: 1<<32 - 1, Rekey: 8 << 20, End: 1 << 30}
	for _, x := range []struct {
		conn   Conn
		octets uint64
		limit  suite.KeyLimit
		nonce  []byte
		want   ipsec.Lifetime
	}{
		{},
		{limit: des3, want: ipsec.Lifetime{SoftBytes: 7 << 20, HardBytes: 1 << 30, SoftPackets: 1<<32 - 1 - (1<<29 - 1), HardPackets: 1<<32 - 1}},
		{limit: suite.KeyLimit{Rekey: 8 << 20, End: 1 << 30}, nonce: []byte{0x80, 0, 0, 0, 1}, want: ipsec.Lifetime{SoftBytes: 13 << 19, HardBytes: 1 << 30}},
		{conn: Conn{LifeBytes: 1 << 20}, limit: suite.KeyLimit{Rekey: 8 << 20, End: 1 << 30}, want: ipsec.Lifetime{SoftBytes: 7 << 17, HardBytes: 1 << 20}},
		{conn: Conn{LifeBytes: 1 << 40}, limit: suite.KeyLimit{Rekey: 8 << 20, End: 1 << 30}, want: ipsec.Lifetime{SoftBytes: 7 << 20, HardBytes: 1 << 30}},
		{conn: Conn{LifeBytes: 1 << 40}, octets: 1 << 30, want: ipsec.Lifetime{SoftBytes: 7 << 27, HardBytes: 1 << 30}},
		{conn: Conn{LifePackets: 800}, limit: suite.KeyLimit{Packets: 1<<32 - 1}, want: ipsec.Lifetime{SoftPackets: 700, HardPackets: 800}},
	} {
		if got := x.conn.Volume(x.octets, x.limit, x.nonce); got != x.want {
			t.Errorf("%+v: %+v, want %+v", x, got, x.want)
		}
	}
}
