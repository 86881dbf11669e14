package pluto

import (
	"strings"
	"testing"

	"cygnet/internal/ipsec"
	"cygnet/internal/whack"
)

// How SAs are listed (freeswan.md 4.9): alen is the digest's length, though less
// of it travels, and compression shows what it saves.
func TestSALine(t *testing.T) {
	for _, test := range []struct {
		proto     ipsec.Proto
		transform ipsec.Transform
		want      string
	}{
		{ipsec.Tun, ipsec.Transform{}, "tun0x200@192.0.2.1 IPIP: dir=out src=198.51.100.1 life"},
		{ipsec.Comp, ipsec.Transform{}, "comp0x200@192.0.2.1 COMP_DEFLATE: dir=out src=198.51.100.1 life(c,s,h)=bytes(0,0,0)addtime(0,0,0)packets(0,0,0) ratio=1000:400"},
		{ipsec.ESP, ipsec.Transform{Encr: 3, Integ: 1}, "ESP_3DES_HMAC_MD5: dir=out src=198.51.100.1 alen=128 aklen=128 eklen=192 life"},
		{ipsec.ESP, ipsec.Transform{Encr: 12, KeyBits: 256, Integ: 2}, "ESP_AES_HMAC_SHA1: dir=out src=198.51.100.1 alen=160 aklen=160 eklen=256 life"},
		{ipsec.ESP, ipsec.Transform{Encr: 20, KeyBits: 256}, "ESP_AES_GCM_16: dir=out src=198.51.100.1 alen=128 eklen=256 life"},
		{ipsec.AH, ipsec.Transform{Integ: 1}, "ah0x200@192.0.2.1 AH_HMAC_MD5: dir=out src=198.51.100.1 alen=128 aklen=128 life"},
		{ipsec.AH, ipsec.Transform{Integ: 12}, " alen=256 aklen=256 life"},
	} {
		s := ipsec.SAStatus{SA: ipsec.SA{ID: ipsec.SAID{Dst: westAddr, Proto: test.proto, SPI: 0x200}, Src: eastAddr, Transform: test.transform}}
		if test.proto == ipsec.Comp {
			s.CompressedFrom, s.CompressedTo = 1000, 400
		}
		lines := (&whack.SAs{SAs: []whack.SA{saLine(s)}}).Lines()
		if len(lines) != 1 || !strings.Contains(lines[0], test.want) {
			t.Errorf("%q, want %q", lines, test.want)
		}
	}
}
