package ike

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// The identities of freeswan.md 3.3, with the octets they put on the wire.
var idTexts = []struct {
	text string
	kind IDKind
	data string
	back string // String, if not text itself
}{
	{"192.0.2.1", IDIPv4, "\xc0\x00\x02\x01", ""},
	{"2001:db8::1", IDIPv6, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", ""},
	{"2001:DB8:0::1", IDIPv6, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", "2001:db8::1"},
	{"::ffff:192.0.2.1", IDIPv4, "\xc0\x00\x02\x01", "192.0.2.1"},
	{"@gw.example.org", IDFQDN, "gw.example.org", ""},
	{"@west", IDFQDN, "west", ""},
	{`@a\x20b`, IDFQDN, "a b", ""},
	{"@10.1.2.3", IDFQDN, "10.1.2.3", ""},
	{"user@example.org", IDUser, "user@example.org", ""},
	{"@@user@example.org", IDUser, "user@example.org", "user@example.org"},
	{"@@local", IDUser, "local", ""},
	{"@#c0ffee", IDKeyID, "\xc0\xff\xee", ""},
	{"@#C0FFEE", IDKeyID, "\xc0\xff\xee", "@#c0ffee"},
	{"@~3000", IDDN, "\x30\x00", ""},
	{"%any", IDNone, "", ""},
	{"0.0.0.0", IDNone, "", "%any"},
	{"::", IDNone, "", "%any"},
	{"%null", IDNULL, "", ""},
}

func TestParseID(t *testing.T) {
	for _, c := range idTexts {
		id, err := ParseID(c.text)
		if err != nil {
			t.Errorf("ParseID(%q): %v", c.text, err)
			continue
		}
		if (id != ID{c.kind, c.data}) {
			t.Errorf("ParseID(%q) = kind %d, octets %x", c.text, id.Kind, id.Data)
		}
		back := c.back
		if back == "" {
			back = c.text
		}
		if id.String() != back {
			t.Errorf("ParseID(%q).String() = %q, want %q", c.text, id.String(), back)
		}
	}
}

func TestParseIDErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "empty",
		"@":                             "empty",
		"@#":                            "hexadecimal",
		"@#abc":                         "hexadecimal",
		"@~zz":                          "hexadecimal",
		"%nobody":                       "unknown identity",
		"1.2.3":                         "neither an address nor a name",
		"1.2.3.256":                     "neither",
		"fe80::1%eth0":                  "zone",
		"a b":                           "neither",
		`@a\q`:                          "hexadecimal",
		`@a\x+1`:                        "hexadecimal",
		"@a\nb":                         "control",
		"CN=":                           "empty value",
		"XX=1":                          "unknown attribute",
		"C=CH, nonsense":                "ATTRIBUTE=value",
		`CN=x\`:                         "lone",
		"@" + strings.Repeat("a", 1025): "longer than 1024",
	} {
		id, err := ParseID(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseID(%.40q) = %v, %v; want an error with %q", text, id, err, want)
		}
	}
}

// A bare name is for the caller to resolve.
func TestParseIDHostName(t *testing.T) {
	for _, name := range []string{"gw.example.org", "west", "3com.example"} {
		_, err := ParseID(name)
		var host *HostNameError
		if !errors.As(err, &host) || host.Name != name {
			t.Errorf("ParseID(%q) = %v, want a HostNameError", name, err)
		}
	}
}

// The DER is what Go's own X.509 code makes of the same name.
func TestParseDN(t *testing.T) {
	want, err := asn1.Marshal(pkix.RDNSequence{
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 6}, Value: "CH"}},
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "Strong, Swan"}},
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "gw*é"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`C=CH, O=Strong\, Swan, CN=gw*é`,
		`c=CH,o=Strong\2c Swan,cn=gw*\c3\a9`,
		`/C=CH/O=Strong, Swan/CN=gw*é`,
	} {
		id, err := ParseID(text)
		if err != nil || id.Kind != IDDN || id.Data != string(want) {
			t.Errorf("ParseID(%q) = %x, %v\nwant %x", text, id.Data, err, want)
		}
	}
	if got, want := (ID{IDDN, string(want)}).String(), `C=CH, O=Strong\, Swan, CN=gw*\c3\a9`; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

func TestDNRoundTrip(t *testing.T) {
	for _, text := range []string{
		"C=CH, O=lab, CN=left.lab",
		"DC=org, DC=example, E=admin@example.org",
		"O=a+OU=b, CN=c",
		`CN=\20x\20`,
		`CN=a\\b`,
		`CN=a\=b\/c`,
	} {
		id, err := ParseID(text)
		if err != nil {
			t.Errorf("ParseID(%q): %v", text, err)
			continue
		}
		if id.String() != text {
			t.Errorf("ParseID(%q).String() = %q", text, id.String())
		}
	}
}

func TestIDEqual(t *testing.T) {
	parse := func(text string) ID {
		id, err := ParseID(text)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	dn := parse("C=CH, CN=west")
	utf8dn := ID{IDDN, strings.Replace(dn.Data, "\x13\x04west", "\x0c\x04west", 1)}
	if dn == utf8dn {
		t.Fatal("the test's second DN is not different")
	}
	for _, c := range []struct {
		a, b ID
		want bool
	}{
		{parse("@GW.Example.ORG."), parse("@gw.example.org"), true},
		{parse("@gw.example.org"), parse("@gw2.example.org"), false},
		{parse("@gw.example.org"), parse("@@gw.example.org"), false},
		{parse("Joe@Example.org"), parse("joe@example.ORG"), true},
		{parse("@É"), parse("@é"), false}, // ASCII case only
		{parse("192.0.2.1"), parse("192.0.2.1"), true},
		{parse("192.0.2.1"), parse("@192.0.2.1"), false},
		{parse("@#ab"), parse("@#AB"), true},
		{parse("@#6162"), parse("@#4142"), false}, // KEY_ID has no letters
		{dn, utf8dn, true},
		{dn, parse("C=CH, CN=east"), false},
		{dn, parse("CN=west, C=CH"), false},
		{ID{}, ID{}, true},
	} {
		if c.a.Equal(c.b) != c.want || c.b.Equal(c.a) != c.want {
			t.Errorf("%v equal to %v: want %v", c.a, c.b, c.want)
		}
	}
}

func TestIDOfAddr(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1",
		"fe80::1%eth0": "fe80::1", "0.0.0.0": "%any", "::": "%any",
	} {
		id := IDOfAddr(netip.MustParseAddr(text))
		if id.String() != want {
			t.Errorf("IDOfAddr(%s) = %v, want %s", text, id, want)
		}
	}
	if !IDOfAddr(netip.Addr{}).IsZero() {
		t.Error("IDOfAddr of no address is not IDNone")
	}
}

func TestIDCheck(t *testing.T) {
	good := []ID{{IDIPv4, "\x01\x02\x03\x04"}, {IDFQDN, "a"}, {IDDN, "\x30\x00"}, {IDNULL, ""}}
	bad := []ID{{}, {IDIPv4, "\x01\x02\x03"}, {IDIPv4, "\x00\x00\x00\x00"}, {IDIPv6, "\x01\x02\x03\x04"}, {IDFQDN, ""},
		{IDDN, "junk"}, {4, "x"}, {IDKeyID, strings.Repeat("x", maxIDLen+1)}}
	for _, id := range good {
		if err := id.Check(); err != nil {
			t.Errorf("Check(%v): %v", id, err)
		}
	}
	for _, id := range bad {
		if id.Check() == nil {
			t.Errorf("Check(%v) accepts kind %d with %x", id, id.Kind, id.Data)
		}
	}
}

// Whatever a peer sends as its identity, its text is one printable line, and
// if that text can be read, it means the same identity: no peer can appear in
// a log as somebody else.
func FuzzID(f *testing.F) {
	for _, c := range idTexts {
		f.Add(uint8(c.kind), []byte(c.data))
	}
	f.Add(uint8(IDFQDN), []byte("#616263"))
	f.Add(uint8(IDFQDN), []byte("@x\r\n004 \"west\" #1: established"))
	f.Add(uint8(IDUser), []byte("CN=a@b"))
	f.Add(uint8(IDUser), []byte("%any@"))
	dn, _ := ParseID("C=CH, O=lab, CN=left.lab")
	f.Add(uint8(IDDN), []byte(dn.Data))
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		id := ID{IDKind(kind), string(data)}
		text := id.String()
		for i := 0; i < len(text); i++ {
			if text[i] < ' ' || text[i] > '~' {
				t.Fatalf("%d:%x prints as %q", kind, data, text)
			}
		}
		again, err := ParseID(text)
		if err == nil && !(again == id || id.Kind == IDNULL || id.Kind == IDNone) {
			t.Fatalf("%d:%x prints as %q, which is %d:%x", kind, data, text, again.Kind, again.Data)
		}
		if err != nil && id.Check() == nil && len(data) > 0 {
			t.Fatalf("%d:%x prints as %q, which is refused: %v", kind, data, text, err)
		}
		if !id.Equal(id) {
			t.Fatalf("%v is not equal to itself", id)
		}
	})
}

// Every text is refused, or means an identity that prints and reads as itself.
func FuzzIDText(f *testing.F) {
	for _, c := range idTexts {
		f.Add(c.text)
	}
	f.Add(`C=CH, O=Strong\, Swan+OU=x, CN=gw`)
	f.Add(`/C=CH/O=a\/b`)
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		if err != nil {
			return
		}
		again, err := ParseID(id.String())
		if err != nil || again != id {
			t.Fatalf("ParseID(%q) = %d:%s, printed %q, read %d:%s, %v", text, id.Kind, hex.EncodeToString([]byte(id.Data)),
				id.String(), again.Kind, hex.EncodeToString([]byte(again.Data)), err)
		}
	})
}
