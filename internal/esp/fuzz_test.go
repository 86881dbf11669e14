package esp

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// FuzzOpen feeds any packet to any suite: nothing panics, nothing is written
// outside the packet, and what opens is what we sealed.
func FuzzOpen(f *testing.F) {
	for i, ts := range testSuites {
		out, _ := ts.pair(f)
		f.Add(uint8(i), seal(f, out, octets(21, 4), 4))
		f.Add(uint8(i), make([]byte, out.HeadLen()+out.sizes.icv+out.sizes.align))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		ts := testSuites[int(which)%len(testSuites)]
		_, in := ts.pair(t)
		room := append(bytes.Clone(data), 0xa5, 0xa5, 0xa5, 0xa5)
		pkt := room[:len(data)]
		seq, ok := in.Sequence(pkt)
		payload, next, err := in.Open(new(Scratch), pkt, seq)
		if !bytes.Equal(room[len(data):], []byte{0xa5, 0xa5, 0xa5, 0xa5}) {
			t.Fatal("written beyond the packet")
		}
		if err != nil {
			return
		}
		if !ok && len(data) < in.sizes.head+2+in.sizes.icv {
			t.Fatal("a packet too short for Sequence opened")
		}
		if in.sizes.icv > 0 && ok && !sealedByUs(t, ts, data, seq, next, payload) {
			t.Fatalf("a packet that nobody sealed opened: %x", data)
		}
	})
}

// sealedByUs reports whether data is what sealing payload gives. The fuzzer
// holds no key, so whatever opens must come from the seeds.
func sealedByUs(t *testing.T, ts testSuite, data []byte, seq uint64, next uint8, payload []byte) bool {
	out, _ := ts.pair(t)
	pad := len(data) - out.SealedLen(len(payload))
	again := out.Seal(new(Scratch), make([]byte, len(data)), seq, next, payload, pad)
	return bytes.Equal(again, data)
}

// FuzzSeal: any payload and pad, all three ways, opens to itself.
func FuzzSeal(f *testing.F) {
	f.Add(uint8(0), uint32(1), uint8(4), []byte("payload"), 0, uint8(0))
	f.Add(uint8(9), uint32(1<<32-1), uint8(59), []byte{}, 255, uint8(1))
	f.Add(uint8(13), uint32(7), uint8(41), octets(99, 1), -1, uint8(2))
	f.Fuzz(func(t *testing.T, which uint8, seq uint32, next uint8, payload []byte, pad int, way uint8) {
		if seq == 0 || len(payload) > 1<<16 {
			return
		}
		ts := testSuites[int(which)%len(testSuites)]
		out, in := ts.pair(t)
		dst := make([]byte, out.SealedLen(len(payload))+max(0, min(pad, maxPad)))
		src := bytes.Clone(payload)
		s := new(Scratch)
		switch way % 3 {
		case 0:
			src = dst[out.HeadLen():][:copy(dst[out.HeadLen():], payload)]
		case 1:
			s.Borrow = true
			src = append(src, make([]byte, 8)...)[:len(payload)]
		}
		pkt := out.Seal(s, dst, uint64(seq), next, src, pad)
		if binary.BigEndian.Uint32(pkt[4:]) != seq {
			t.Fatal("wrong sequence number")
		}
		if in.esn {
			in.window.Update(uint64(seq) - 1)
		}
		got, gotNext, err := deliver(in, s, pkt)
		if err != nil || gotNext != next || !bytes.Equal(got, payload) {
			t.Fatalf("opened to %x, next %d, %v", got, gotNext, err)
		}
	})
}
