package wire

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// equal compares decoded payloads. nil and empty slices are the same on the
// wire. The reserved octets of an identity take part.
func equal(a, b Payloads) string {
	return cmp.Diff(a, b, cmpopts.EquateEmpty(), cmp.AllowUnexported(Identity{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }))
}

// everyPayload has at least one of each type, and of each form of it.
func everyPayload() Payloads {
	return Payloads{
		SA{[]suite.Offer{
			{Number: 1, Protocol: suite.ProtoESP, SPI: []byte{1, 2, 3, 4}, Transforms: []suite.Transform{
				{Type: suite.TypeEncr, ID: 12, KeyBits: 256}, {Type: suite.TypeInteg, ID: 12}, {Type: suite.TypeESN}}},
			{Number: 2, Protocol: suite.ProtoIKE, SPI: []byte{1, 2, 3, 4, 5, 6, 7, 8}},
			{Number: 3, Protocol: 77, SPI: []byte{1, 2}, Transforms: []suite.Transform{{Type: 200, ID: 999}}},
		}},
		KE{Group: 31, Data: bytes.Repeat([]byte{7}, 32)},
		NewIDi(ike.ID{Kind: ike.IDFQDN, Data: "west.example"}),
		NewIDr(ike.ID{Kind: ike.IDIPv4, Data: "\xc0\x00\x02\x01"}),
		NewIDr(ike.ID{Kind: ike.IDNULL}),
		CERT{CertX509Signature, []byte("certificate")},
		CERTREQ{CertX509Signature, bytes.Repeat([]byte{9}, 20)},
		AUTH{AuthSharedKey, []byte("mac")},
		Nonce{bytes.Repeat([]byte{5}, 32)},
		NewNotify(ike.NotifyInitialContact, nil),
		NotifySA(ike.NotifyRekeySA, suite.ProtoESP, 0x1234),
		Notify{Protocol: 9, SPI: []byte{1}, Kind: 50000, Data: []byte("x")},
		Delete{Protocol: suite.ProtoIKE},
		Delete{suite.ProtoESP, []ipsec.SPI{1, 0xffffffff}},
		VendorID{[]byte("cygnet")},
		VendorID{},
		NewTSi([]ipsec.TS{
			ipsec.TSOf(netip.MustParsePrefix("10.1.0.0/24"), 6, ipsec.Ports{Lo: 80, Hi: 90}),
			ipsec.TSOf(netip.MustParsePrefix("2001:db8::/32"), 0, ipsec.Ports{}),
			ipsec.TSOf(netip.MustParsePrefix("0.0.0.0/0"), 17, ipsec.Ports{Lo: 0xffff, Hi: 0}),
		}),
		NewTSr([]ipsec.TS{{Start: netip.MustParseAddr("10.0.0.3"), End: netip.MustParseAddr("10.0.0.77")}}),
		CP{CFGRequest, []Attribute{{AttrIP4Address, nil}, {AttrIP4DNS, []byte{8, 8, 8, 8}}, {999, []byte("?")}}},
		EAP{[]byte{1, 2, 0, 5, 1}},
		Unknown{Number: 200, Data: []byte("later")},
	}
}

func TestEveryPayloadRoundTrips(t *testing.T) {
	sent := everyPayload()
	b := AppendPayloads(nil, sent)
	got, err := ParsePayloads(first(sent), b)
	if err != nil {
		t.Fatal(err)
	}
	if d := equal(sent, got); d != "" {
		t.Error(d)
	}
	if again := AppendPayloads(nil, got); !bytes.Equal(again, b) {
		t.Errorf("encoded as\n%x, was\n%x", again, b)
	}
	for _, typ := range []ike.PayloadType{33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 47, 48} {
		if sent.count(typ) == 0 {
			t.Errorf("no %s payload in the test", typ)
		}
		if parsers[typ] == nil {
			t.Errorf("no decoder for %s", typ)
		}
	}
}

func TestAccessors(t *testing.T) {
	ps := everyPayload()
	if n, ok := ps.Notify(ike.NotifyRekeySA); !ok {
		t.Error("no REKEY_SA")
	} else if spi, ok := n.ChildSPI(); !ok || spi != 0x1234 {
		t.Errorf("SPI %x, %v", spi, ok)
	}
	if n, _ := ps.Notify(ike.NotifyInitialContact); n.SPI != nil {
		t.Errorf("SPI %x", n.SPI)
	} else if _, ok := n.ChildSPI(); ok {
		t.Error("INITIAL_CONTACT has an SPI")
	}
	if _, ok := ps.Failure(); ok {
		t.Error("failure among status notifies")
	}
	if n, ok := append(ps, NewNotify(8191, nil)).Failure(); !ok || n.Kind != 8191 {
		t.Error("unknown error type is no failure")
	}
	if len(ps.Deletes()) != 2 || len(ps.VendorIDs()) != 2 || len(ps.CERTs()) != 1 || len(ps.CERTREQs()) != 1 {
		t.Error("counts")
	}
	if _, ok := (Payloads{}).SA(); ok {
		t.Error("SA out of nothing")
	}
	if _, ok := ps.IDi(); !ok {
		t.Error("no IDi")
	}
	if p, ok := ps.EAP(); !ok || len(p.Message) != 5 {
		t.Error("no EAP")
	}
	if p, ok := ps.CP(); !ok || len(p.Attributes) != 3 {
		t.Error("no CP")
	}
}

// The reserved octets of an identity are under the peer's AUTH (section 2.15).
func TestIdentityBodyKeepsReservedOctets(t *testing.T) {
	body := []byte{2, 9, 8, 7, 'w'}
	ps, err := ParsePayloads(ike.PayloadIDi, append([]byte{0, 0, 0, 9}, body...))
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := ps.IDi(); !bytes.Equal(id.Body(), body) || id.ID.Data != "w" {
		t.Errorf("%x", id.Body())
	}
	if own := NewIDi(ike.ID{Kind: 2, Data: "w"}).Body(); !bytes.Equal(own, []byte{2, 0, 0, 0, 'w'}) {
		t.Errorf("%x", own)
	}
}

// pair returns the two ends of one direction for each kind of cipher.
func pair(t testing.TB) map[string][2]SKCipher {
	t.Helper()
	made := map[string][2]SKCipher{}
	for _, c := range []struct {
		name  string
		encr  suite.EncrChoice
		integ *suite.Integ
		key   int
	}{
		{"aes_gcm_16-256", suite.EncrChoice{Encr: gcm, Bits: 256}, nil, 36},
		{"aes_gcm_16-128", suite.EncrChoice{Encr: gcm, Bits: 128}, nil, 20},
		{"aes_cbc-256", suite.EncrChoice{Encr: cbc, Bits: 256}, hmac256, 32},
	} {
		var ends [2]SKCipher
		for i := range ends {
			var err error
			ends[i], err = NewCipher(c.encr, c.integ, ipsec.NewSecret(bytes.Repeat([]byte{3}, c.key)), ipsec.NewSecret(bytes.Repeat([]byte{4}, 32)))
			if err != nil {
				t.Fatal(err)
			}
		}
		made[c.name] = ends
	}
	return made
}

var infoHeader = ike.Header{SPIi: 1, SPIr: 2, Major: 2, Exchange: ike.Informational, MessageID: 7}

func TestSealOpensAtAllLengths(t *testing.T) {
	for name, ends := range pair(t) {
		for n := range 70 {
			sent := Payloads{VendorID{bytes.Repeat([]byte{1}, n)}}
			if n == 0 {
				sent = nil
			}
			prefix := []byte("before")
			msg := Seal(prefix, infoHeader, sent, ends[0])[len(prefix):]
			got, err := Open(msg, ends[1])
			if err != nil {
				t.Fatalf("%s, %d octets: %v", name, n, err)
			}
			if d := equal(sent, got); d != "" {
				t.Errorf("%s, %d octets: %s", name, n, d)
			}
		}
	}
}

func TestSealNeverRepeatsAnIV(t *testing.T) {
	for name, ends := range pair(t) {
		seen := map[string]bool{}
		for range 100 {
			msg := Seal(nil, infoHeader, nil, ends[0])
			iv := string(msg[skBody : skBody+8])
			if seen[iv] {
				t.Fatalf("%s: IV %x twice", name, iv)
			}
			seen[iv] = true
		}
	}
}

func TestEveryBitIsProtected(t *testing.T) {
	for name, ends := range pair(t) {
		msg := Seal(nil, infoHeader, Payloads{VendorID{[]byte("v")}}, ends[0])
		for bit := range len(msg) * 8 {
			bad := bytes.Clone(msg)
			bad[bit/8] ^= 1 << (bit % 8)
			if _, err := Open(bad, ends[1]); err == nil {
				t.Fatalf("%s: bit %d of octet %d changed unnoticed", name, bit%8, bit/8)
			}
		}
	}
}

func TestNewCipherRefusesWrongKeys(t *testing.T) {
	key := func(n int) ipsec.Secret { return ipsec.NewSecret(make([]byte, n)) }
	for name, c := range map[string]struct {
		encr          suite.EncrChoice
		integ         *suite.Integ
		encrKey, mKey ipsec.Secret
	}{
		"no cipher":     {suite.EncrChoice{}, nil, key(0), key(0)},
		"size zero":     {suite.EncrChoice{Encr: gcm}, nil, key(4), key(0)},
		"without salt":  {suite.EncrChoice{Encr: gcm, Bits: 256}, nil, key(32), key(0)},
		"odd size":      {suite.EncrChoice{Encr: gcm, Bits: 100}, nil, key(16), key(0)},
		"CBC, no MAC":   {suite.EncrChoice{Encr: cbc, Bits: 256}, nil, key(32), key(0)},
		"short MAC key": {suite.EncrChoice{Encr: cbc, Bits: 256}, hmac256, key(32), key(31)},
		"NULL":          {suite.EncrChoice{Encr: &suite.Encr{Name: "null"}, Bits: 8}, hmac256, key(1), key(32)},
	} {
		if _, err := NewCipher(c.encr, c.integ, c.encrKey, c.mKey); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
