package wire

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// The V2C and FRG lines of the adversary catalogue that a codec decides.

var initHeader = ike.Header{SPIi: 1, Major: 2, Exchange: ike.SAInit, Flags: ike.FlagInitiator}

func goodInit() Payloads {
	return Payloads{
		SA{[]suite.Offer{{Number: 1, Protocol: suite.ProtoIKE, Transforms: []suite.Transform{{Type: suite.TypeEncr, ID: 20, KeyBits: 128}}}}},
		KE{31, make([]byte, 32)}, Nonce{make([]byte, 32)},
	}
}

// raw builds a message in the clear out of a chain given as octets.
func raw(next ike.PayloadType, chain []byte) []byte {
	h := initHeader
	h.Next = next
	msg := append(h.Append(nil), chain...)
	setLength(msg)
	return msg
}

// sealed builds an INFORMATIONAL whose SK holds octets of our choice.
func sealed(next ike.PayloadType, inner []byte, c SKCipher) []byte {
	return seal(nil, infoHeader, SK{Next: next}, inner, c)
}

func wantDrop(t *testing.T, what string, err error, reason string) {
	t.Helper()
	if de, ok := errors.AsType[*ike.DropError](err); !ok || de.Reason != reason {
		t.Errorf("%s: %v, want drop(%s)", what, err, reason)
	}
}

func wantNotify(t *testing.T, what string, err error, kind uint16) *ike.NotifyError {
	t.Helper()
	ne, ok := errors.AsType[*ike.NotifyError](err)
	if !ok || ne.Type != kind {
		t.Errorf("%s: %v, want %s", what, err, ike.NotifyName(kind))
		return &ike.NotifyError{}
	}
	return ne
}

// wantMalformed checks that a chain is dropped in IKE_SA_INIT and answered
// with INVALID_SYNTAX inside SK.
func wantMalformed(t *testing.T, what string, next ike.PayloadType, chain []byte, reason string) {
	t.Helper()
	_, err := Parse(raw(next, chain))
	wantDrop(t, what+" in the clear", err, reason)
	for name, ends := range pair(t) {
		_, err := Open(sealed(next, chain, ends[0]), ends[1])
		wantNotify(t, what+" inside SK, "+name, err, ike.NotifyInvalidSyntax)
	}
}

// one wraps a body as the only payload of a chain.
func one(body ...byte) []byte {
	return append(octet.AppendUint16([]byte{0, 0}, uint16(len(body)+4)), body...)
}

func TestAdv_V2C_12_NoPayloads(t *testing.T) {
	_, err := Parse(raw(0, nil))
	wantDrop(t, "nothing", err, "missing")
	_, err = Parse(raw(0, one(1)))
	wantDrop(t, "octets but no payload", err, "trailing")
}

func TestAdv_V2C_13_PayloadLengthBelowHeader(t *testing.T) {
	for n := range byte(4) {
		wantMalformed(t, fmt.Sprintf("length %d", n), ike.PayloadVendorID, []byte{0, 0, 0, n, 1, 1}, "malformed")
	}
}

func TestAdv_V2C_14_PayloadLengthBeyondMessage(t *testing.T) {
	wantMalformed(t, "one past the end", ike.PayloadVendorID, []byte{0, 0, 0, 7, 1, 1}, "malformed")
	wantMalformed(t, "65535", ike.PayloadVendorID, []byte{0, 0, 0xff, 0xff, 1, 1}, "malformed")
}

func TestAdv_V2C_15_PayloadCount(t *testing.T) {
	chain := func(n int) []byte {
		ps := make([]Payload, n)
		for i := range ps {
			ps[i] = VendorID{}
		}
		return AppendPayloads(nil, ps)
	}
	for _, n := range []int{maxPayloads - 1, maxPayloads} {
		if ps, err := ParsePayloads(ike.PayloadVendorID, chain(n)); err != nil || len(ps) != n {
			t.Errorf("%d payloads: %v", n, err)
		}
	}
	wantMalformed(t, "limit+1", ike.PayloadVendorID, chain(maxPayloads+1), "too_many")
}

func TestAdv_V2C_16_ChainEndsEarly(t *testing.T) {
	wantMalformed(t, "next payload missing", ike.PayloadVendorID, []byte{43, 0, 0, 4}, "malformed")
	wantMalformed(t, "next payload cut", ike.PayloadVendorID, []byte{43, 0, 0, 4, 0, 0}, "malformed")
}

func TestAdv_V2C_17_TrailingOctets(t *testing.T) {
	wantMalformed(t, "trailing", ike.PayloadVendorID, []byte{0, 0, 0, 4, 9}, "trailing")
}

func TestAdv_V2C_18_UnknownPayloadIsSkipped(t *testing.T) {
	for at := range 4 {
		ps := goodInit()
		ps = append(ps[:at:at], append(Payloads{Unknown{Number: 200, Data: []byte("?")}}, ps[at:]...)...)
		if m, err := Parse(Append(nil, initHeader, ps...)); err != nil || len(m.Payloads) != 4 {
			t.Errorf("position %d: %v", at, err)
		}
	}
}

func TestAdv_V2C_19_20_UnknownCriticalPayload(t *testing.T) {
	bad := Unknown{Number: 200, Critical: true}
	_, err := Parse(Append(nil, initHeader, append(goodInit(), bad)...))
	if ne := wantNotify(t, "IKE_SA_INIT", err, ike.NotifyUnsupportedCritical); !bytes.Equal(ne.Data, []byte{200}) {
		t.Errorf("data %x", ne.Data)
	}
	for name, ends := range pair(t) {
		_, err = Open(Seal(nil, infoHeader, Payloads{bad}, ends[0]), ends[1])
		if ne := wantNotify(t, name, err, ike.NotifyUnsupportedCritical); !bytes.Equal(ne.Data, []byte{200}) {
			t.Errorf("data %x", ne.Data)
		}
		// In the clear of a protected exchange it is no reason to answer.
		h := infoHeader
		_, err = Open(Append(nil, h, bad), ends[1])
		wantDrop(t, name+" in the clear", err, "protected")
	}
}

func TestAdv_V2C_22_CriticalBitOnKnownTypes(t *testing.T) {
	sent := everyPayload()
	b := AppendPayloads(nil, sent)
	for at := 0; at < len(b); at += int(b[at+2])<<8 | int(b[at+3]) {
		if next := b[at]; next < 33 && next != 0 || next > 48 {
			break // the unknown one at the end
		}
		b[at+1] |= criticalBit
	}
	if got, err := ParsePayloads(first(sent), b); err != nil || equal(sent, got) != "" {
		t.Errorf("%v", err)
	}
}

func TestAdv_V2C_23_PayloadNumbersOfIKEv1(t *testing.T) {
	for n := ike.PayloadType(1); n < 33; n++ {
		ps, err := ParsePayloads(n, one(1, 2, 3))
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := ps[0].(Unknown); !ok || p.Number != n {
			t.Errorf("%s became %T", n, ps[0])
		}
	}
}

func TestAdv_V2C_24_25_InitPayloadMissingOrDoubled(t *testing.T) {
	for _, flags := range []ike.Flags{ike.FlagInitiator, ike.FlagResponse} {
		h := initHeader
		h.Flags = flags
		for i := range goodInit() {
			ps := goodInit()
			_, err := Parse(Append(nil, h, append(ps[:i:i], ps[i+1:]...)...))
			wantDrop(t, "without "+ps[i].Type().String(), err, "malformed")
			_, err = Parse(Append(nil, h, append(ps, ps[i])...))
			wantDrop(t, "two "+ps[i].Type().String(), err, "malformed")
		}
	}
}

// Every protected exchange, both directions: a mandatory payload left out, a
// single one doubled.
func TestAdv_V2C_24_25_ProtectedMatrix(t *testing.T) {
	id, peer := NewIDi(ike.ID{Kind: 2, Data: "a"}), NewIDr(ike.ID{Kind: 2, Data: "b"})
	auth, nonce, ke := AUTH{2, make([]byte, 32)}, Nonce{make([]byte, 32)}, KE{31, make([]byte, 32)}
	esp := SA{[]suite.Offer{{Number: 1, Protocol: suite.ProtoESP, SPI: make([]byte, 4)}}}
	sa := SA{[]suite.Offer{{Number: 1, Protocol: suite.ProtoIKE, SPI: make([]byte, 8)}}}
	tsi, tsr := everyPayload()[16], everyPayload()[17]
	for _, c := range []struct {
		name     string
		exchange ike.ExchangeType
		flags    ike.Flags
		payloads Payloads
		optional string // may be left out alone
	}{
		{"IKE_AUTH request", ike.Auth, ike.FlagInitiator, Payloads{id, peer, auth, esp, tsi, tsr}, "IDr AUTH"},
		{"IKE_AUTH response", ike.Auth, ike.FlagResponse, Payloads{peer, auth, esp, tsi, tsr}, "AUTH"},
		{"new child", ike.CreateChild, 0, Payloads{esp, nonce, ke, tsi, tsr}, "KE"},
		{"new child response", ike.CreateChild, ike.FlagResponse, Payloads{esp, nonce, ke, tsi, tsr}, "KE"},
		{"IKE rekey", ike.CreateChild, 0, Payloads{sa, nonce, ke}, ""},
		{"IKE rekey response", ike.CreateChild, ike.FlagResponse, Payloads{sa, nonce, ke}, ""},
	} {
		h := ike.Header{Exchange: c.exchange, Flags: c.flags, MessageID: 1}
		if err := Legal(h, c.payloads); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for i, p := range c.payloads {
			name := p.Type().String()
			err := Legal(h, append(c.payloads[:i:i], c.payloads[i+1:]...))
			if allowed := strings.Contains(c.optional, name); allowed != (err == nil) {
				t.Errorf("%s without %s: %v", c.name, name, err)
			} else if !allowed {
				wantNotify(t, c.name+" without "+name, err, ike.NotifyInvalidSyntax)
			}
			err = Legal(h, append(c.payloads[:len(c.payloads):len(c.payloads)], p))
			wantNotify(t, c.name+" with two "+name, err, ike.NotifyInvalidSyntax)
		}
		// A refusal needs nothing else, in responses only.
		err := Legal(h, Payloads{NewNotify(ike.NotifyNoProposalChosen, nil)})
		if (err == nil) != h.Response() {
			t.Errorf("%s, only an error notify: %v", c.name, err)
		}
	}
	if err := Legal(ike.Header{Exchange: ike.Auth, MessageID: 1, Flags: ike.FlagResponse},
		Payloads{auth, NewNotify(ike.NotifyTSUnacceptable, nil)}); err == nil {
		t.Error("AUTH without IDr accepted beside an error")
	}
	if err := Legal(ike.Header{Exchange: ike.Informational}, nil); err != nil {
		t.Errorf("empty INFORMATIONAL: %v", err)
	}
}

func TestAdv_V2C_09_UnknownExchange(t *testing.T) {
	for name, ends := range pair(t) {
		h := infoHeader
		h.Exchange = 99
		_, err := Open(Seal(nil, h, nil, ends[0]), ends[1])
		wantNotify(t, name, err, ike.NotifyInvalidSyntax)
	}
}

func TestAdv_V2C_26_AnyOrder(t *testing.T) {
	ps := goodInit()
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		if _, err := Parse(Append(nil, initHeader, ps[order[0]], ps[order[1]], ps[order[2]])); err != nil {
			t.Errorf("%v: %v", order, err)
		}
	}
}

// proposal builds a proposal substructure.
func proposal(last, number, protocol, spiSize, transforms byte, rest ...byte) []byte {
	return append([]byte{last, 0, 0, byte(8 + len(rest)), number, protocol, spiSize, transforms}, rest...)
}

func TestAdv_V2C_27_ProposalStructure(t *testing.T) {
	prf := []byte{0, 0, 0, 8, 2, 0, 0, 5}
	morePRF := []byte{3, 0, 0, 8, 2, 0, 0, 5}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	if _, err := ParsePayloads(ike.PayloadSA, one(proposal(0, 1, 1, 0, 1, prf...)...)); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for name, body := range map[string][]byte{
		"no proposals":            {},
		"number skipped":          join(proposal(2, 1, 1, 0, 1, prf...), proposal(0, 3, 1, 0, 1, prf...)),
		"number repeated":         join(proposal(2, 1, 1, 0, 1, prf...), proposal(0, 1, 1, 0, 1, prf...)),
		"last octet 1":            proposal(1, 1, 1, 0, 1, prf...),
		"more announced":          proposal(2, 1, 1, 0, 1, prf...),
		"more than announced":     join(proposal(0, 1, 1, 0, 1, prf...), proposal(0, 2, 1, 0, 1, prf...)),
		"transform count low":     proposal(0, 1, 1, 0, 1, join(morePRF, prf)...),
		"transform count high":    proposal(0, 1, 1, 0, 3, join(morePRF, prf)...),
		"transforms left over":    proposal(0, 1, 1, 0, 0, prf...),
		"last transform not last": proposal(0, 1, 1, 0, 1, morePRF...),
		"transform octet 7":       proposal(0, 1, 1, 0, 2, join([]byte{7, 0, 0, 8, 2, 0, 0, 5}, prf)...),
		"transform length 7":      proposal(0, 1, 1, 0, 1, 0, 0, 0, 7, 2, 0, 0),
		"transform length 0":      proposal(0, 1, 1, 0, 1, 0, 0, 0, 0, 2, 0, 0, 5),
		"SPI cut":                 proposal(0, 1, 3, 4, 0, 1, 2),
		"ESP SPI of 8":            proposal(0, 1, 3, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8),
		"IKE SPI of 4":            proposal(0, 1, 1, 4, 0, 1, 2, 3, 4),
		"proposal length 3":       {0, 0, 0, 3, 1, 1, 0, 0},
		"attribute cut":           proposal(0, 1, 1, 0, 1, 0, 0, 0, 10, 1, 0, 0, 12, 0x80, 14),
	} {
		wantMalformed(t, name, ike.PayloadSA, one(body...), "malformed")
	}
	ps := goodInit()
	ps[0] = SA{[]suite.Offer{{Number: 2, Protocol: suite.ProtoIKE}}}
	_, err := Parse(Append(nil, initHeader, ps...))
	wantDrop(t, "request whose only proposal is number 2", err, "malformed")
	h := initHeader
	h.Flags = ike.FlagResponse
	if _, err := Parse(Append(nil, h, ps...)); err != nil {
		t.Errorf("response that chose number 2: %v", err)
	}
}

func TestAdv_V2C_28_29_AttributesWeDoNotUnderstand(t *testing.T) {
	for name, attrs := range map[string][]byte{
		"unknown TV":        {0x80, 99, 0, 1},
		"unknown TLV":       {0, 99, 0, 2, 1, 1},
		"key length as TLV": {0, 14, 0, 2, 1, 0},
		"key length 0":      {0x80, 14, 0, 0},
		"two key lengths":   {0x80, 14, 1, 0, 0x80, 14, 1, 0},
		"known and unknown": {0x80, 14, 1, 0, 0x80, 99, 1, 0},
		"unknown and known": {0x80, 99, 1, 0, 0x80, 14, 1, 0},
	} {
		transform := append([]byte{0, 0, 0, byte(8 + len(attrs)), 1, 0, 0, 20}, attrs...)
		ps, err := ParsePayloads(ike.PayloadSA, one(proposal(0, 1, 1, 0, 1, transform...)...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		sa, _ := ps.SA()
		if got := sa.Proposals[0].Transforms[0]; got != (suite.Transform{Type: suite.TypeEncr, ID: UnknownTransform}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAdv_V2C_31_NonceLength(t *testing.T) {
	for _, n := range []int{16, 17, 255, 256} {
		if _, err := ParsePayloads(ike.PayloadNonce, one(make([]byte, n)...)); err != nil {
			t.Errorf("%d octets: %v", n, err)
		}
	}
	for _, n := range []int{0, 1, 15, 257} {
		wantMalformed(t, fmt.Sprintf("%d octets", n), ike.PayloadNonce, one(make([]byte, n)...), "malformed")
	}
}

func TestAdv_V2C_33_KEWithoutData(t *testing.T) {
	for n := range 5 {
		wantMalformed(t, fmt.Sprintf("%d octets", n), ike.PayloadKE, one(make([]byte, n)...), "malformed")
	}
}

func TestAdv_V2C_34_NotifySPI(t *testing.T) {
	for name, body := range map[string][]byte{
		"cut":                     {0, 0, 1},
		"SPI size beyond payload": {3, 255, 0, 1, 1, 2, 3, 4},
		"ESP with 8":              {3, 8, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8},
		"AH with 3":               {2, 3, 0, 1, 1, 2, 3},
		"IKE with 8":              {1, 8, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8},
		"no protocol with 4":      {0, 4, 0, 1, 1, 2, 3, 4},
	} {
		wantMalformed(t, name, ike.PayloadNotify, one(body...), "malformed")
	}
	ps, err := ParsePayloads(ike.PayloadNotify, one(1, 0, 0x40, 0))
	if n, ok := ps.Notify(ike.NotifyInitialContact); err != nil || !ok || n.Protocol != 0 {
		t.Errorf("protocol without SPI: %+v, %v", n, err)
	}
}

func TestAdv_V2C_36_NotifyCopies(t *testing.T) {
	var ps Payloads
	for range 50 {
		ps = append(ps, NewNotify(ike.NotifyNATDetectionSource, make([]byte, 20)))
	}
	if n := len(ps.NotifyAll(ike.NotifyNATDetectionSource)); n != maxNotifyCopies {
		t.Errorf("%d copies looked at", n)
	}
}

// selector builds an IPv4 traffic selector from ports and addresses.
func selector(proto byte, rest ...byte) []byte {
	return append([]byte{7, proto, 0, byte(4 + len(rest))}, rest...)
}

func TestAdv_V2C_37_TrafficSelectors(t *testing.T) {
	all := selector(0, 0, 0, 0xff, 0xff, 10, 0, 0, 0, 10, 0, 0, 255)
	list := func(n byte, parts ...[]byte) []byte {
		return append([]byte{n, 0, 0, 0}, bytes.Join(parts, nil)...)
	}
	for name, body := range map[string][]byte{
		"none":            list(0),
		"count high":      list(2, all),
		"count low":       list(1, all, all),
		"length 15":       list(1, selector(0, 0, 0, 0xff, 0xff, 10, 0, 0, 0, 10, 0, 0)),
		"length 17":       list(1, selector(0, 0, 0, 0xff, 0xff, 10, 0, 0, 0, 10, 0, 0, 255, 0)),
		"length 7":        list(1, []byte{7, 0, 0, 7, 0, 0, 0}),
		"length 0":        list(1, []byte{7, 0, 0, 0}),
		"255, none there": list(255),
	} {
		for _, typ := range []ike.PayloadType{ike.PayloadTSi, ike.PayloadTSr} {
			wantMalformed(t, name, typ, one(body...), "malformed")
		}
	}
	unknown := []byte{200, 0, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8}
	backwards := selector(0, 0, 0, 0xff, 0xff, 10, 0, 0, 255, 10, 0, 0, 0)
	portsBackwards := selector(6, 0, 90, 0, 80, 10, 0, 0, 0, 10, 0, 0, 255)
	portZero := selector(1, 0, 0, 0, 0, 10, 0, 0, 0, 10, 0, 0, 255)
	for name, c := range map[string]struct {
		body []byte
		want int
	}{
		"unknown type":                     {list(2, unknown, all), 1},
		"start after end":                  {list(2, all, backwards), 1},
		"ports reversed":                   {list(1, portsBackwards), 0},
		"ICMP type 0 only is not any type": {list(1, portZero), 0},
		"255 of them":                      {list(255, bytes.Repeat(all, 255)), 255},
	} {
		ps, err := ParsePayloads(ike.PayloadTSi, one(c.body...))
		if tsi, _ := ps.TSi(); err != nil || len(tsi.Selectors) != c.want {
			t.Errorf("%s: %v, %v", name, tsi, err)
		}
	}
}

func TestAdv_V2C_38_Identity(t *testing.T) {
	for name, body := range map[string][]byte{
		"type 0":           {0, 0, 0, 0, 'x'},
		"empty":            {2, 0, 0, 0},
		"IPv4 of 3":        {1, 0, 0, 0, 1, 2, 3},
		"IPv6 of 15":       append([]byte{5, 0, 0, 0}, make([]byte, 15)...),
		"longer than DNs":  append([]byte{9, 0, 0, 0}, make([]byte, maxID+1)...),
		"empty of type 11": {11, 0, 0, 0},
	} {
		for _, typ := range []ike.PayloadType{ike.PayloadIDi, ike.PayloadIDr} {
			_, err := ParsePayloads(typ, one(body...))
			wantNotify(t, name, err, ike.NotifyAuthenticationFailed)
		}
	}
	wantMalformed(t, "cut", ike.PayloadIDi, one(2, 0, 0), "malformed")
}

func TestAdv_V2C_39_Certificates(t *testing.T) {
	base := Payloads{NewIDi(ike.ID{Kind: 2, Data: "a"}), AUTH{2, nil}}
	h := ike.Header{Exchange: ike.Auth, MessageID: 1}
	for range maxCerts {
		base = append(base, CERT{Encoding: 250})
	}
	if err := Legal(h, base); err != nil {
		t.Errorf("%d certificates: %v", maxCerts, err)
	}
	wantNotify(t, "one more", Legal(h, append(base, CERT{4, nil})), ike.NotifyAuthenticationFailed)
}

func TestAdv_V2C_42_Delete(t *testing.T) {
	for name, body := range map[string][]byte{
		"protocol 0":     {0, 0, 0, 0},
		"protocol 4":     {4, 4, 0, 1, 1, 2, 3, 4},
		"ESP with 8":     {3, 8, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8},
		"IKE with SPI":   {1, 8, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8},
		"IKE with count": {1, 0, 0, 1},
		"count high":     {3, 4, 0, 2, 1, 2, 3, 4},
		"count low":      {3, 4, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8},
		"count 65535":    {3, 4, 0xff, 0xff, 1, 2, 3, 4},
		"size 0":         {3, 0, 0, 0},
		"cut":            {3, 4, 0},
	} {
		wantMalformed(t, name, ike.PayloadDelete, one(body...), "malformed")
	}
}

func TestAdv_V2C_43_Configuration(t *testing.T) {
	for name, body := range map[string][]byte{
		"overrun":       {1, 0, 0, 0, 0, 3, 0, 5, 1, 2, 3, 4},
		"header cut":    {1, 0, 0, 0, 0, 3, 0},
		"address of 1":  {1, 0, 0, 0, 0, 1, 0, 1, 9},
		"address of 3":  {1, 0, 0, 0, 0, 1, 0, 3, 9, 9, 9},
		"address of 5":  {1, 0, 0, 0, 0, 1, 0, 5, 9, 9, 9, 9, 9},
		"1000 of these": append([]byte{1, 0, 0, 0}, make([]byte, 4000)...),
	} {
		wantMalformed(t, name, ike.PayloadCP, one(body...), "malformed")
	}
}

func TestAdv_V2C_44_PayloadsBesideSK(t *testing.T) {
	for name, ends := range pair(t) {
		good := Seal(nil, infoHeader, nil, ends[0])
		m, err := Parse(good)
		if err != nil || !m.Encrypted() {
			t.Fatal(err)
		}
		_, err = Open(append(bytes.Clone(good), one(1)...), ends[1])
		wantDrop(t, name+", after SK without length", err, "length")
		after := append(bytes.Clone(good), one(1)...)
		setLength(after)
		_, err = Open(after, ends[1])
		wantDrop(t, name+", after SK", err, "trailing")
		_, err = Open(Append(nil, m.Header, VendorID{}, m.Payloads[0]), ends[1])
		wantDrop(t, name+", before SK", err, "protected")
		_, err = Open(Append(nil, m.Header, NewNotify(ike.NotifyInvalidSyntax, nil)), ends[1])
		wantDrop(t, name+", no SK", err, "protected")
	}
}

func TestAdv_V2C_45_EncryptedPayload(t *testing.T) {
	for name, ends := range pair(t) {
		good := Seal(nil, infoHeader, Payloads{VendorID{[]byte("some")}}, ends[0])
		for n := range len(good) - skBody {
			cut := bytes.Clone(good[:skBody+n])
			setLength(cut)
			cut[ike.HeaderLen+2], cut[ike.HeaderLen+3] = byte((n+4)>>8), byte(n+4)
			_, err := Open(cut, ends[1])
			wantDrop(t, fmt.Sprintf("%s, %d octets", name, n), err, "icv")
		}
	}
	// With a good ICV: a pad length that leaves the content.
	ends := pair(t)["aes_gcm_16-256"]
	c := ends[0].(*aeadCipher)
	head := Append(nil, infoHeader, SK{Body: make([]byte, c.ivLen+4+c.icv)})[:skBody]
	iv := make([]byte, c.ivLen)
	for _, plain := range [][]byte{{9, 9, 9, 4}, {9, 9, 9, 255}} {
		msg := c.aead.Seal(append(bytes.Clone(head), iv...), c.nonce(iv), plain, head)
		_, err := Open(msg, ends[1])
		wantNotify(t, "pad length", err, ike.NotifyInvalidSyntax)
	}
}

func TestAdv_V2C_46_NestedEncryption(t *testing.T) {
	for _, typ := range []ike.PayloadType{ike.PayloadSK, ike.PayloadSKF} {
		for name, ends := range pair(t) {
			_, err := Open(sealed(typ, one(0, 1, 0, 1), ends[0]), ends[1])
			wantNotify(t, name, err, ike.NotifyInvalidSyntax)
		}
	}
}

func TestAdv_V2C_47_EAPLength(t *testing.T) {
	for _, body := range [][]byte{{}, {1, 1, 0}, {1, 1, 0, 5}, {1, 1, 0, 4, 9}} {
		_, err := ParsePayloads(ike.PayloadEAP, one(body...))
		wantNotify(t, fmt.Sprintf("%x", body), err, ike.NotifyAuthenticationFailed)
	}
}

// Work is linear in the input and memory is bounded.
func TestAdv_V2C_49_LargestMessages(t *testing.T) {
	transforms := bytes.Repeat([]byte{3, 0, 0, 8, 2, 0, 0, 5}, 254)
	transforms = append(transforms, 0, 0, 0, 8, 2, 0, 0, 5)
	var proposals []byte
	for i := range 30 {
		p := append([]byte{2, 0, 0, 0, byte(i + 1), 1, 0, 255}, transforms...)
		p[2], p[3] = byte(len(p)>>8), byte(len(p))
		proposals = append(proposals, p...)
	}
	notifies := bytes.Repeat([]byte{41, 0, 0, 8, 0, 0, 0x40, 0}, 8000)
	attributes := append([]byte{1, 0, 0, 0}, bytes.Repeat([]byte{0x80, 99, 0, 0}, 16000)...)
	for name, msg := range map[string][]byte{
		"transforms": raw(ike.PayloadSA, one(proposals...)),
		"notifies":   raw(ike.PayloadNotify, notifies),
		"attributes": raw(ike.PayloadCP, one(attributes...)),
	} {
		const runs = 20
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		for range runs {
			if _, err := Parse(msg); err == nil {
				t.Fatalf("%s: accepted", name)
			}
		}
		took := time.Since(start) / runs
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / runs; n > 1<<20 {
			t.Errorf("%s: %d octets allocated for %d received", name, n, len(msg))
		}
		if took > 20*time.Millisecond { // 2 ms on an idle machine
			t.Errorf("%s: %v", name, took)
		}
	}
}

func TestAdv_V2C_50_VendorIDs(t *testing.T) {
	var ps Payloads
	for range 60 {
		ps = append(ps, VendorID{make([]byte, 1000)}, VendorID{})
	}
	if got, err := ParsePayloads(ike.PayloadVendorID, AppendPayloads(nil, ps)); err != nil || len(got) != 120 {
		t.Error(err)
	}
	if _, err := ParsePayloads(ike.PayloadVendorID, one(make([]byte, 60<<10)...)); err != nil {
		t.Error(err)
	}
}

func TestAdv_FRG_02_06_FragmentNumbers(t *testing.T) {
	for name, p := range map[string]SKF{
		"number 0":            {Number: 0, Total: 2},
		"total 0":             {Number: 1, Total: 0},
		"number beyond total": {Number: 3, Total: 2},
		"next in fragment 2":  {Number: 2, Total: 2, Next: ike.PayloadIDi},
	} {
		_, err := Parse(Append(nil, infoHeader, p))
		wantDrop(t, name, err, "malformed")
	}
	if _, err := Parse(Append(nil, infoHeader, SKF{Number: 2, Total: 2})); err != nil {
		t.Error(err)
	}
	_, err := Parse(raw(ike.PayloadSKF, one(0, 1, 0)))
	wantDrop(t, "cut", err, "malformed")
}

func TestAdv_FRG_10_EncryptedInit(t *testing.T) {
	for _, p := range []Payload{SK{Body: make([]byte, 40)}, SKF{Number: 1, Total: 1, Body: make([]byte, 40)}} {
		_, err := Parse(Append(nil, initHeader, p))
		wantDrop(t, p.Type().String(), err, "malformed")
	}
}
