package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// The V1 lines of the adversary catalogue that a codec decides.

var mainHeader = ike.Header{SPIi: 1, Major: 1, Exchange: ike.MainMode}

// raw builds a message in the clear out of a chain given as octets.
func raw(next ike.PayloadType, chain []byte) []byte {
	h := mainHeader
	h.Next = next
	msg := append(h.Append(nil), chain...)
	setLength(msg)
	return msg
}

// one is one payload given as octets.
func one(next ike.PayloadType, body []byte) []byte {
	b := []byte{uint8(next), 0}
	b = octet.AppendUint16(b, uint16(len(body)+genericLen))
	return append(b, body...)
}

func wantDrop(t *testing.T, what string, err error, reason string) {
	t.Helper()
	if de, ok := errors.AsType[*ike.DropError](err); !ok || de.Reason != reason {
		t.Errorf("%s: %v, want drop(%s)", what, err, reason)
	}
}

func everyPayload() []Payload {
	return []Payload{
		HASH{[]byte("0123456789abcdef")},
		SA{Proposals: []Proposal{
			{1, ProtoAH, []byte{1, 2, 3, 4}, []Transform{{1, 3, []Attr{NewAttr(1, 1), NewAttr(2, 1<<20), {2, false, make([]byte, 9)}}}}},
			{1, ProtoESP, []byte{5, 6, 7, 8}, []Transform{{1, 12, []Attr{NewAttr(6, 256)}}, {2, 3, nil}}},
			{2, ProtoIPComp, []byte{9, 9}, []Transform{{1, 2, nil}}},
		}},
		KE{make([]byte, 192)}, Nonce{make([]byte, 16)},
		ID{uint8(ike.IDFQDN), 17, 500, []byte("west")}, ID{IDIPv4Subnet, 0, 0, []byte{10, 0, 0, 0, 255, 0, 0, 0}},
		CERT{4, []byte{0x30}}, CERTREQ{4, nil}, SIG{make([]byte, 256)},
		NewNotify(ProtoESP, 14, []byte{1, 2, 3, 4}, []byte("why")), NewDelete(ProtoESP, []byte{1, 2, 3, 4}, []byte{5, 6, 7, 8}),
		VendorID{[]byte("us")}, NATD{false, make([]byte, 20)}, NATD{true, make([]byte, 20)},
		NATOA{false, netip.MustParseAddr("192.0.2.1")}, NATOA{true, netip.MustParseAddr("2001:db8::1")},
	}
}

func TestEveryPayloadComesBack(t *testing.T) {
	b := Append(nil, mainHeader, everyPayload()...)
	m, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range everyPayload() {
		got := m.Payloads[i]
		if sa, ok := got.(SA); ok {
			sa.raw = nil
			got = sa
		}
		if fmt.Sprintf("%T%v", got, got) != fmt.Sprintf("%T%v", p, p) {
			t.Errorf("%s: %+v, want %+v", p.Type(), got, p)
		}
	}
	if again := Append(nil, m.Header, m.Payloads...); !bytes.Equal(b, again) {
		t.Errorf("encoded in two ways:\n%x\n%x", b, again)
	}
}

// V1-02.
func TestAdv_V1_02(t *testing.T) {
	doi := octet.AppendUint32(nil, 1)
	sit := octet.AppendUint32(nil, 1)
	transform := one(0, []byte{1, 1, 0, 0, 0x80, 1, 0, 5})
	proposal := func(head []byte, transforms ...byte) []byte { return one(0, append(head, transforms...)) }
	good := proposal([]byte{1, 1, 0, 1}, transform...)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	if _, err := Parse(raw(ike.PayloadV1SA, one(0, join(doi, sit, good)))); err != nil {
		t.Fatalf("honest twin: %v", err)
	}
	for name, body := range map[string][]byte{
		"DOI 2":                     join(octet.AppendUint32(nil, 2), sit, good),
		"all situation bits":        join(doi, octet.AppendUint32(nil, 0xffffffff), good),
		"no situation":              doi,
		"no proposal":               join(doi, sit),
		"SPI size 255":              join(doi, sit, proposal([]byte{1, 1, 255, 1}, transform...)),
		"no transform":              join(doi, sit, proposal([]byte{1, 1, 0, 0})),
		"count of transforms":       join(doi, sit, proposal([]byte{1, 1, 0, 2}, transform...)),
		"octets after a transform":  join(doi, sit, proposal([]byte{1, 1, 0, 1}, append(bytes.Clone(transform), 0)...)),
		"octets after the proposal": join(doi, sit, good, []byte{0}),
		"TLV overrun":               join(doi, sit, proposal([]byte{1, 1, 0, 1}, one(0, []byte{1, 1, 0, 0, 0, 12, 0, 5, 1, 2, 3, 4})...)),
		"half an attribute":         join(doi, sit, proposal([]byte{1, 1, 0, 1}, one(0, []byte{1, 1, 0, 0, 0x80})...)),
		"transform length 3":        join(doi, sit, proposal([]byte{1, 1, 0, 1}, 0, 0, 0, 3)),
		"proposal length 0":         join(doi, sit, []byte{0, 0, 0, 0}),
		"proposal names KE next":    join(doi, sit, []byte{4}, good[1:]),
		"proposals count down":      join(doi, sit, []byte{2}, good[1:4], []byte{2}, good[5:], good),
	} {
		_, err := Parse(raw(ike.PayloadV1SA, one(0, body)))
		wantDrop(t, name, err, "malformed")
	}
	// 255 proposals of 255 transforms: refused, quickly and without filling
	// memory.
	var transforms, proposals []byte
	for i := range 255 {
		tr := bytes.Clone(transform)
		if i < 254 {
			tr[0] = 3
		}
		transforms = append(transforms, tr...)
	}
	for range 12 {
		p := proposal([]byte{1, 1, 0, 255}, transforms...)
		p[0] = 2
		proposals = append(proposals, p...)
	}
	msg := raw(ike.PayloadV1SA, one(0, join(doi, sit, proposals)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	_, err := Parse(msg)
	runtime.ReadMemStats(&after)
	wantDrop(t, "255 transforms each", err, "malformed")
	if d := time.Since(began); d > time.Second {
		t.Errorf("took %s", d)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("allocated %d octets", n)
	}
}

// V1-03: private numbers of payloads mean nothing until they are negotiated.
func TestAdv_V1_03(t *testing.T) {
	for _, typ := range []ike.PayloadType{2, 3, 14, 15, 16, 22, 100, 129, 132, 255} {
		_, err := Parse(raw(typ, one(0, make([]byte, 20))))
		wantDrop(t, typ.String(), err, "malformed")
	}
	ps := Payloads{KE{make([]byte, 128)}, Nonce{make([]byte, 16)}, NATD{true, make([]byte, 20)}, NATD{true, make([]byte, 20)}}
	wantDrop(t, "draft NAT-D", MainKE.Check(ps, false), "malformed")
	if err := MainKE.Check(ps, true); err != nil {
		t.Errorf("honest twin: %v", err)
	}
	oa := Payloads{HASH{make([]byte, 20)}, SA{}, Nonce{make([]byte, 16)}, NATOA{true, netip.MustParseAddr("10.0.0.1")}}
	wantDrop(t, "draft NAT-OA", Quick.Check(oa, false), "malformed")
}

func TestMalformed(t *testing.T) {
	for name, c := range map[string]struct {
		msg    []byte
		reason string
	}{
		"nothing":              {raw(ike.NoPayload, nil), "missing"},
		"no payload but more":  {raw(ike.NoPayload, []byte{1, 2, 3, 4}), "missing"},
		"cut header":           {raw(ike.PayloadV1KE, []byte{0, 0, 0}), "malformed"},
		"length 0":             {raw(ike.PayloadV1KE, []byte{0, 0, 0, 0, 1}), "malformed"},
		"length 3":             {raw(ike.PayloadV1KE, []byte{0, 0, 0, 3, 1}), "malformed"},
		"length past the end":  {raw(ike.PayloadV1KE, []byte{0, 0, 0, 6, 1}), "malformed"},
		"length 65535":         {raw(ike.PayloadV1KE, []byte{0, 0, 255, 255, 1}), "malformed"},
		"trailing":             {raw(ike.PayloadV1KE, append(one(0, []byte{1}), 0)), "trailing"},
		"chain without end":    {raw(ike.PayloadV1KE, one(ike.PayloadV1KE, []byte{1})), "malformed"},
		"empty KE":             {raw(ike.PayloadV1KE, one(0, nil)), "malformed"},
		"empty hash":           {raw(ike.PayloadV1Hash, one(0, nil)), "malformed"},
		"long hash":            {raw(ike.PayloadV1Hash, one(0, make([]byte, 65))), "malformed"},
		"empty signature":      {raw(ike.PayloadV1Signature, one(0, nil)), "malformed"},
		"nonce of 7":           {raw(ike.PayloadV1Nonce, one(0, make([]byte, 7))), "malformed"},
		"nonce of 257":         {raw(ike.PayloadV1Nonce, one(0, make([]byte, 257))), "malformed"},
		"ID type 0":            {raw(ike.PayloadV1ID, one(0, []byte{0, 0, 0, 0, 1})), "malformed"},
		"ID without data":      {raw(ike.PayloadV1ID, one(0, []byte{2, 0, 0, 0})), "malformed"},
		"IPv4 of 5":            {raw(ike.PayloadV1ID, one(0, []byte{1, 0, 0, 0, 1, 2, 3, 4, 5})), "malformed"},
		"subnet of 4":          {raw(ike.PayloadV1ID, one(0, []byte{4, 0, 0, 0, 1, 2, 3, 4})), "malformed"},
		"ID of 2000":           {raw(ike.PayloadV1ID, one(0, make([]byte, 2000))), "malformed"},
		"notify SPI overrun":   {raw(ike.PayloadV1Notify, one(0, []byte{0, 0, 0, 1, 1, 200, 0, 14, 1})), "malformed"},
		"notify of DOI 2":      {raw(ike.PayloadV1Notify, one(0, []byte{0, 0, 0, 2, 1, 0, 0, 14})), "malformed"},
		"delete of no SPI":     {raw(ike.PayloadV1Delete, one(0, []byte{0, 0, 0, 1, 3, 4, 0, 0})), "malformed"},
		"delete of SPI size 0": {raw(ike.PayloadV1Delete, one(0, []byte{0, 0, 0, 1, 3, 0, 255, 255})), "malformed"},
		"delete overrun":       {raw(ike.PayloadV1Delete, one(0, []byte{0, 0, 0, 1, 3, 4, 0, 2, 1, 2, 3, 4})), "malformed"},
		"NAT-D empty":          {raw(ike.PayloadV1NATD, one(0, nil)), "malformed"},
		"NAT-D of 65":          {raw(ike.PayloadV1NATD, one(0, make([]byte, 65))), "malformed"},
		"NAT-OA of 5":          {raw(ike.PayloadV1NATOA, one(0, []byte{1, 0, 0, 0, 1, 2, 3, 4, 5})), "malformed"},
		"NAT-OA of wrong kind": {raw(ike.PayloadV1NATOA, one(0, []byte{5, 0, 0, 0, 1, 2, 3, 4})), "malformed"},
	} {
		_, err := Parse(c.msg)
		wantDrop(t, name, err, c.reason)
	}
	many := make([]Payload, maxPayloads+1)
	for i := range many {
		many[i] = VendorID{[]byte{1}}
	}
	_, err := Parse(Append(nil, mainHeader, many...))
	wantDrop(t, "65 payloads", err, "too_many")
	if _, err := Parse(Append(nil, mainHeader, many[1:]...)); err != nil {
		t.Errorf("64 payloads: %v", err)
	}
}

func TestShapes(t *testing.T) {
	hash, sa, nonce, ke := HASH{make([]byte, 20)}, SA{}, Nonce{make([]byte, 16)}, KE{make([]byte, 128)}
	id, del, vid := ID{Kind: 2, Data: []byte("x")}, NewDelete(ProtoESP, make([]byte, 4)), VendorID{[]byte("v")}
	for name, c := range map[string]struct {
		shape Shape
		ps    Payloads
		ok    bool
	}{
		"MI1":                     {MainSA, Payloads{sa, vid, vid}, true},
		"MI1 with KE":             {MainSA, Payloads{sa, ke}, false},
		"MI1 with two SA":         {MainSA, Payloads{sa, sa}, false},
		"MI2":                     {MainKE, Payloads{ke, nonce, vid}, true},
		"MI2 without nonce":       {MainKE, Payloads{ke}, false},
		"MI3":                     {MainHash, Payloads{id, hash}, true},
		"MI3 without ID":          {MainHash, Payloads{hash}, false},
		"MI3 with two IDs":        {MainHash, Payloads{id, id, hash}, false},
		"MI3 with hash for sig":   {MainSig, Payloads{id, hash}, false},
		"QI1":                     {Quick, Payloads{hash, sa, nonce, ke, id, id}, true},
		"QI1 hash not first":      {Quick, Payloads{sa, hash, nonce}, false},
		"QI1 two hashes":          {Quick, Payloads{hash, hash, sa, nonce}, false},
		"QI1 without hash":        {Quick, Payloads{sa, nonce}, false},
		"QI1 with Delete":         {Quick, Payloads{hash, sa, nonce, del}, false},
		"QI1 three IDs":           {Quick, Payloads{hash, sa, nonce, id, id, id}, false},
		"QI2":                     {QuickLast, Payloads{hash}, true},
		"QI2 with SA":             {QuickLast, Payloads{hash, sa}, false},
		"info":                    {Info, Payloads{hash, del, del}, true},
		"info hash not first":     {Info, Payloads{del, hash}, false},
		"info without hash":       {Info, Payloads{del}, false},
		"Delete in the clear":     {InfoClear, Payloads{del}, false},
		"notify in the clear":     {InfoClear, Payloads{NewNotify(ProtoISAKMP, 14, nil, nil)}, true},
		"nothing for informative": {Info, Payloads{}, false},
	} {
		if err := c.shape.Check(c.ps, false); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAttrNumber(t *testing.T) {
	for _, c := range []struct {
		a  Attr
		v  uint64
		ok bool
	}{
		{NewAttr(12, 28800), 28800, true},
		{NewAttr(12, 86400), 86400, true},
		{Attr{12, false, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 14, 16}}, 3600, true},
		{Attr{12, false, bytes.Repeat([]byte{255}, 8)}, 1<<64 - 1, true},
		{Attr{12, false, bytes.Repeat([]byte{1}, 9)}, 1<<64 - 1, true},
		{Attr{12, false, nil}, 0, false},
	} {
		if v, ok := c.a.Number(); v != c.v || ok != c.ok {
			t.Errorf("%+v: %d, %t", c.a, v, ok)
		}
	}
	if a := NewAttr(12, 86400); a.Basic || !reflect.DeepEqual(a.Value, []byte{0, 1, 0x51, 0x80}) {
		t.Errorf("%+v", a)
	}
}
