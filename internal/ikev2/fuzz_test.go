package ikev2

import (
	"encoding/binary"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/suite"
)

// sealRaw protects octets that need not be payloads.
func sealRaw(h ike.Header, next ike.PayloadType, plain []byte, c wire.SKCipher) []byte {
	h.Next = ike.PayloadSK
	n := c.Size(len(plain))
	h.Length = uint32(ike.HeaderLen + 4 + n)
	b := h.Append(nil)
	b = append(b, byte(next), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(4+n))
	return c.Seal(b, 0, plain)
}

// FuzzStep plays a peer that has the keys and says anything, in every state, and
// somebody who has none. Nothing panics, nobody is believed without AUTH, and a
// machine that ended says so once.
func FuzzStep(f *testing.F) {
	add := func(st state, x ike.ExchangeType, response bool, ps ...wire.Payload) {
		first := ike.NoPayload
		if len(ps) > 0 {
			first = ps[0].Type()
		}
		f.Add(uint8(st), uint8(x), response, uint8(first), wire.AppendPayloads(nil, ps), true)
	}
	for st := stateInitI; st <= stateClosing; st++ {
		for _, x := range []ike.ExchangeType{ike.SAInit, ike.Auth, ike.CreateChild, ike.Informational} {
			for _, response := range []bool{false, true} {
				add(st, x, response, plausible(x, response)...)
			}
		}
	}
	add(stateUp, ike.Informational, false, wire.Delete{Protocol: suite.ProtoIKE})
	add(stateUp, ike.Informational, false, wire.Delete{Protocol: suite.ProtoESP, SPIs: nil})
	add(stateUp, ike.Informational, false, wire.NewNotify(ike.NotifyAuthenticationFailed, nil))
	add(stateUp, ike.CreateChild, false, append([]wire.Payload{wire.NotifySA(ike.NotifyRekeySA, suite.ProtoESP, 0x16001)}, plausible(ike.CreateChild, false)...)...)
	add(stateUp, ike.CreateChild, false, saPayload(suite.DefaultIKE(), make([]byte, 8)), wire.Nonce{Data: make([]byte, 32)}, wire.KE{Group: 31, Data: make([]byte, 32)})
	add(stateMidI, ike.Intermediate, true, wire.KE{Group: 36, Data: make([]byte, 1088)})
	add(stateMidI, ike.Intermediate, true, wire.NewNotify(ike.NotifyInvalidSyntax, nil))
	add(stateInitR, ike.Intermediate, false, wire.KE{Group: 36, Data: make([]byte, 1184)})
	f.Fuzz(func(t *testing.T, st, exchange uint8, response bool, first uint8, plain []byte, sealed bool) {
		if len(plain) > 60000 {
			return
		}
		which := state(st) % (stateDead + 1)
		p, n, sa := inState(t, which)
		p.flying = nil
		if which == stateUp && response { // something must be asked for
			n.step(sa, ike.AddChild{Conn: n.conns[0]})
			p.flying = nil
		}
		h := ike.Header{SPIi: sa.spiI, SPIr: sa.spiR, Major: 2, Exchange: ike.ExchangeType(exchange), MessageID: sa.win.expect}
		if !sa.first {
			h.Flags |= ike.FlagInitiator
		}
		if response {
			h.Flags |= ike.FlagResponse
			if q := sa.win.pending; q != nil {
				h.MessageID = q.id
			}
		}
		var msg []byte
		if sealed && sa.sealer != nil {
			i, r, err := sa.keys.ciphers(sa.chosen)
			if err != nil {
				t.Fatal(err)
			}
			if sa.first {
				i = r
			}
			msg = sealRaw(h, ike.PayloadType(first), plain, i)
		} else {
			h.Next, h.Length = ike.PayloadType(first), uint32(ike.HeaderLen+len(plain))
			msg = append(h.Append(nil), plain...)
		}
		proven := sa.isUp || which == stateAuthR // where an honest AUTH is being checked
		n.step(sa, ike.Received{Local: sa.local, Remote: sa.remote, Msg: msg})
		n.work()
		if sa.isUp && !proven {
			t.Fatal("established without proof")
		}
		if ups, downs := len(facts[ike.ChildUp](n)), len(facts[ike.ChildDown](n)); ups-downs != len(sa.children)+len(childrenOf(sa.successor)) {
			t.Fatalf("%d pairs up, %d down, %d are there", ups, downs, len(sa.children))
		}
		p.pass(5 * time.Minute)
	})
}

func childrenOf(s *SA) []*child {
	if s == nil {
		return nil
	}
	return s.children
}
