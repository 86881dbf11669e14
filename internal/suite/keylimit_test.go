package suite

import "testing"

// Every cipher that may be chosen has its limit: 2^32 packets under the key of an
// AEAD, and 2^20 blocks of 64 bits before a new key is made.
func TestAdv_ESP_37_KeyLimits(t *testing.T) {
	for _, e := range encrs {
		for _, esn := range []bool{false, true} {
			l := Chosen{Protocol: ProtoESP, Encr: EncrChoice{Encr: e}, ESN: esn}.KeyLimit()
			if (l.Packets == 0 || l.Packets >= 1<<32) && (e.AEAD || !esn) {
				t.Errorf("%s, ESN %v: %d packets", e.Name, esn, l.Packets)
			}
			short := e.NewBlock != nil && e.Block < 16
			if short != (l.Rekey != 0) || short && (l.Rekey > 1<<20*uint64(e.Block) || l.End < l.Rekey || l.End > 1<<30) {
				t.Errorf("%s: %+v", e.Name, l)
			}
		}
	}
	if l := (Chosen{Protocol: ProtoAH, ESN: true}).KeyLimit(); l != (KeyLimit{}) {
		t.Errorf("AH with ESN: %+v", l)
	}
}
