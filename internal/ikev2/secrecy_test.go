package ikev2

import (
	"bytes"
	"cmp"
	"slices"
	"testing"

	"cygnet/internal/ipsec"
)

// sessionKeys lists the encryption keys of a node's SAs, in the order of their numbers.
func (n *node) sessionKeys() [][]byte {
	ids := make([]ipsec.SAID, 0, len(n.plane))
	for id := range n.plane {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b ipsec.SAID) int { return cmp.Or(cmp.Compare(a.SPI, b.SPI), a.Dst.Compare(b.Dst)) })
	var keys [][]byte
	for _, id := range ids {
		keys = append(keys, bytes.Clone(n.plane[id].EncrKey.Bytes()))
	}
	return keys
}

// R4.6, R7.1: a shared secret authenticates and does nothing else. With the
// same randomness two pairs that have different secrets come to the very same
// session keys, so that knowing a secret says nothing about keys; and with other
// randomness one secret gives other keys. What is left to whoever has recorded
// everything and later steals the secret is the key exchange itself.
func TestSecretIsNoKey(t *testing.T) {
	keys := func(psk string, seed byte) [][]byte {
		p := newPair(t, seed)
		p.west.psk, p.east.psk = psk, psk
		p.up()
		for _, d := range p.sent {
			if bytes.Contains(d.Msg, []byte(psk)) {
				t.Error("the secret is in a message")
			}
		}
		return p.west.sessionKeys()
	}
	one, other := keys("correct horse battery staple", 1), keys("another secret altogether", 1)
	if len(one) != 2 || len(other) != 2 || !bytes.Equal(one[0], other[0]) || !bytes.Equal(one[1], other[1]) {
		t.Errorf("the secret goes into the session keys: %x and %x", one, other)
	}
	if again := keys("correct horse battery staple", 2); bytes.Equal(one[0], again[0]) || bytes.Equal(one[1], again[1]) {
		t.Error("two negotiations under one secret have the same keys")
	}
	if bytes.Equal(one[0], one[1]) {
		t.Error("both directions have the same key")
	}
}

// R4.6: nor do the keys of a replacement follow from those before it: with PFS
// each has a key exchange of its own.
func TestKeysOfReplacements(t *testing.T) {
	p := newPair(t, 3)
	p.up()
	seen := p.west.sessionKeys()
	for range 3 {
		p.pass(p.west.conns[0].ChildLife)
		for _, k := range p.west.sessionKeys() {
			if slices.ContainsFunc(seen, func(old []byte) bool { return bytes.Equal(old[:16], k[:16]) }) {
				t.Error("a key came back")
			}
		}
		seen = append(seen, p.west.sessionKeys()...)
	}
	if len(seen) < 8 {
		t.Errorf("only %d keys in three lifetimes", len(seen))
	}
}

// R10.11: SPIs below 0x1000 are not ours to give, but a peer may choose one.
func TestPeerChoosesLowSPI(t *testing.T) {
	p := newPair(t, 4)
	p.east.nextSPI = 0x1ff
	p.up()
	found := false
	for id, sa := range p.west.plane {
		found = found || sa.Dir == ipsec.Out && id.SPI == 0x200
	}
	if !found {
		t.Errorf("west does not send to SPI 0x200: %v", p.west.plane)
	}
}
