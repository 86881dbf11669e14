package oe

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"cygnet/internal/rawkey"
)

// edKey is a key made from a seed.
func edKey(seed byte) ed25519.PublicKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)).Public().(ed25519.PublicKey)
}

// rsaKey is a public key of that length that nobody has the private half of:
// readers of records do not need it.
func rsaKey(bits int, fill byte) *rsa.PublicKey {
	n := new(big.Int).SetBytes(bytes.Repeat([]byte{fill | 0x81}, bits/8))
	return &rsa.PublicKey{N: n, E: 65537}
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PublicKey {
	scalar := bytes.Repeat([]byte{7}, (curve.Params().BitSize+7)/8)
	priv, err := ecdsa.ParseRawPrivateKey(curve, scalar)
	if err != nil {
		t.Fatal(err)
	}
	return &priv.PublicKey
}

func unhex(t testing.TB, text string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func txtData(parts ...string) []byte {
	var b []byte
	for _, p := range parts {
		b = append(append(b, byte(len(p))), p...)
	}
	return b
}

// The vectors of opportunistic.md 7.8 and the rows of 7.5 and 7.6.
func TestIPSECKEYRecords(t *testing.T) {
	fleet, _ := base64.StdEncoding.DecodeString("+1dyZIckb5HqbqrodiPef1tCpqkojq7E0eoZX0DIJ2U=")
	key := hex.EncodeToString(fleet)
	ed := crypto.PublicKey(ed25519.PublicKey(fleet))
	gwa := Gateway{Name: "gwa.example.test."}
	a := Gateway{Addr: netip.MustParseAddr("192.0.2.1")}
	rsaField := func(bits int) string { return hex.EncodeToString(rawkey.MarshalRSA(rsaKey(bits, 0xc5))) }
	p256, _, _ := rawkey.DNSKey(ecKey(t, elliptic.P256()))
	p384, _, _ := rawkey.DNSKey(ecKey(t, elliptic.P384()))
	for name, c := range map[string]struct {
		hex  string
		want Record
		err  error
	}{
		"address":           {"0a 01 04 c0000201" + key, Record{45, 10, a, ed}, nil},
		"itself":            {"0a 00 04" + key, Record{45, 10, Gateway{}, ed}, nil},
		"name":              {"0a 03 04 03677761 076578616d706c65 0474657374 00" + key, Record{45, 10, gwa, ed}, nil},
		"name in capitals":  {"0a 03 04 03475741 076578616d706c65 0474657374 00" + key, Record{45, 10, gwa, ed}, nil},
		"IPv6":              {"00 02 04 20010db8000000000000000000000001" + key, Record{45, 0, Gateway{Addr: netip.MustParseAddr("2001:db8::1")}, ed}, nil},
		"keyless":           {"0a 01 00 c0000201", Record{45, 10, a, nil}, nil},
		"RSA 2048":          {"0a 00 02" + rsaField(2048), Record{45, 10, Gateway{}, rsaKey(2048, 0xc5)}, nil},
		"RSA 4096":          {"0a 00 02" + rsaField(4096), Record{45, 10, Gateway{}, rsaKey(4096, 0xc5)}, nil},
		"P-256":             {"0a 00 03" + hex.EncodeToString(p256), Record{45, 10, Gateway{}, ecKey(t, elliptic.P256())}, nil},
		"P-384":             {"0a 00 03" + hex.EncodeToString(p384), Record{45, 10, Gateway{}, ecKey(t, elliptic.P384())}, nil},
		"kind 200":          {"0a c8 02 01020304", Record{}, ErrUnusable},
		"two octets":        {"0a c8", Record{}, ErrMalformed},
		"empty":             {"", Record{}, ErrMalformed},
		"compression":       {"0a 03 02 c000 0102", Record{}, ErrMalformed},
		"short address":     {"0a 01 04 c00002", Record{}, ErrMalformed},
		"short IPv6":        {"0a 02 04 20010db8", Record{}, ErrMalformed},
		"name without end":  {"0a 03 04 03677761", Record{}, ErrMalformed},
		"label of 64":       {"0a 03 04 40" + strings.Repeat("61", 64) + "00" + key, Record{}, ErrMalformed},
		"name of 256":       {"0a 03 04" + strings.Repeat("3f"+strings.Repeat("61", 63), 4) + "00" + key, Record{}, ErrMalformed},
		"the root":          {"0a 03 04 00" + key, Record{}, ErrMalformed},
		"no host name":      {"0a 03 04 0322202b 00" + key, Record{}, ErrUnusable},
		"key of nothing":    {"0a 01 00 c0000201" + key, Record{}, ErrUnusable},
		"key missing":       {"0a 01 02 c0000201", Record{}, ErrMalformed},
		"DSA":               {"0a 01 01 c0000201" + key, Record{}, ErrUnusable},
		"algorithm 5":       {"0a 01 05 c0000201 01020304", Record{}, ErrUnusable},
		"Ed25519 of 31":     {"0a 00 04" + key[2:], Record{}, ErrUnusable},
		"Ed448":             {"0a 00 04" + strings.Repeat("11", 57), Record{}, ErrUnusable},
		"off the curve":     {"0a 00 03" + strings.Repeat("11", 64), Record{}, ErrUnusable},
		"ECDSA of 65":       {"0a 00 03 04" + strings.Repeat("11", 64), Record{}, ErrUnusable},
		"RSA 512":           {"0a 01 02 c0000201 0103" + strings.Repeat("c5", 64), Record{}, ErrUnusable},
		"RSA 1024":          {"0a 00 02" + rsaField(1024), Record{}, ErrUnusable},
		"RSA 4224":          {"0a 00 02" + rsaField(4224), Record{}, ErrUnusable},
		"RSA 16384":         {"0a 01 02 c0000201 03010001" + strings.Repeat("c7", 2048), Record{}, ErrUnusable},
		"even modulus":      {"0a 00 02 0103" + strings.Repeat("c6", 256), Record{}, ErrUnusable},
		"exponent of zeros": {"0a 00 02 020003" + strings.Repeat("c5", 256), Record{}, ErrUnusable},
	} {
		got, err := ParseRecord(TypeIPSECKEY, unhex(t, c.hex), 0)
		if !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := ParseRecord(TypeIPSECKEY, unhex(t, "0a 00 02"+rsaField(4224)), 8192); err != nil {
		t.Errorf("oe-rsa-max=8192: %v", err)
	}
}

// R15.4, R15.5: the table of opportunistic.md 7.8 and the cases of 7.3.
func TestR15_4_R15_5_TXTRecords(t *testing.T) {
	key := rsaKey(2048, 0xc5)
	text := base64.StdEncoding.EncodeToString(rawkey.MarshalRSA(key))
	a, gw := Gateway{Addr: netip.MustParseAddr("192.0.2.1")}, Gateway{Name: "gw.example.com."}
	for name, c := range map[string]struct {
		parts []string
		want  Record
		err   error
	}{
		"usual":                     {[]string{"X-IPsec-Server(10)=192.0.2.1", " " + text[:200], text[200:]}, Record{16, 10, a, key}, nil},
		"blank between each string": {[]string{"X-IPsec-Server(10)=192.0.2.1 ", text[:200] + " ", text[200:] + " "}, Record{16, 10, a, key}, nil},
		"one string":                {[]string{"X-IPsec-Server(10)=192.0.2.1"}, Record{16, 10, a, nil}, nil},
		"odd blanks":                {[]string{"  x-ipsec-server ( 7 ) = @gw.example.com"}, Record{16, 7, gw, nil}, nil},
		"name with a dot":           {[]string{"X-IPSEC-SERVER(7)=@GW.example.com."}, Record{16, 7, gw, nil}, nil},
		"tabs":                      {[]string{"\tX-IPsec-Server\t(\t0\t)\r\n=\t192.0.2.1\t"}, Record{16, 0, a, nil}, nil},
		"leading zero is decimal":   {[]string{"X-IPsec-Server(010)=192.0.2.1"}, Record{16, 10, a, nil}, nil},
		"IPv6":                      {[]string{"X-IPsec-Server(1)=2001:db8::1"}, Record{16, 1, Gateway{Addr: netip.MustParseAddr("2001:db8::1")}, nil}, nil},
		"gateway runs into key":     {[]string{"X-IPsec-Server(10)=192.0.2.1AQO..."}, Record{}, ErrMalformed},
		"no precedence":             {[]string{"X-IPsec-Server=192.0.2.1"}, Record{}, ErrMalformed},
		"too large":                 {[]string{"X-IPsec-Server(70000)=192.0.2.1 AQ=="}, Record{}, ErrMalformed},
		"hexadecimal":               {[]string{"X-IPsec-Server(0x10)=192.0.2.1"}, Record{}, ErrMalformed},
		"negative":                  {[]string{"X-IPsec-Server(-1)=192.0.2.1"}, Record{}, ErrMalformed},
		"not closed":                {[]string{"X-IPsec-Server(10=192.0.2.1"}, Record{}, ErrMalformed},
		"no gateway":                {[]string{"X-IPsec-Server(10)="}, Record{}, ErrMalformed},
		"0.0.0.0":                   {[]string{"X-IPsec-Server(10)=0.0.0.0"}, Record{}, ErrMalformed},
		"::":                        {[]string{"X-IPsec-Server(10)=::"}, Record{}, ErrMalformed},
		"@":                         {[]string{"X-IPsec-Server(10)=@"}, Record{}, ErrMalformed},
		"scope":                     {[]string{"X-IPsec-Server(10)=fe80::1%eth0"}, Record{}, ErrMalformed},
		"bad base64":                {[]string{"X-IPsec-Server(10)=192.0.2.1 A!"}, Record{}, ErrMalformed},
		"NUL":                       {[]string{"X-IPsec-Server(10)=192.0.2.1", "\x00"}, Record{}, ErrMalformed},
		"key of two octets":         {[]string{"X-IPsec-Server(10)=192.0.2.1 AQ=="}, Record{}, ErrUnusable},
		"SPF":                       {[]string{"v=spf1 -all"}, Record{}, ErrForeign},
		"half the attribute":        {[]string{"X-IPsec"}, Record{}, ErrForeign},
		"8 kB":                      {append([]string{"X-IPsec-Server(10)=198.18.9.1"}, strings.Split(strings.Repeat(strings.Repeat("A", 250)+" ", 32), " ")...), Record{}, ErrUnusable},
	} {
		got, err := ParseRecord(TypeTXT, txtData(c.parts...), 0)
		if !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := ParseRecord(TypeTXT, []byte{200, 'x'}, 0); !errors.Is(err, ErrForeign) {
		t.Errorf("a string longer than its record: %v", err)
	}
}

func TestKEYRecords(t *testing.T) {
	key := rsaKey(2048, 0xc5)
	field := rawkey.MarshalRSA(key)
	for _, c := range []struct {
		head []byte
		err  error
	}{
		{[]byte{0x42, 0, 4, 1}, nil}, {[]byte{0, 0, 4, 1}, nil}, {[]byte{0x42, 0, 3, 1}, ErrForeign},
		{[]byte{0xc2, 0, 4, 1}, ErrForeign}, {[]byte{0x52, 0, 4, 1}, nil}, {[]byte{0x42, 0, 4, 5}, ErrForeign},
		{[]byte{0x4a, 0, 4, 1}, ErrForeign}, {[]byte{0x42, 0x80, 4, 1}, ErrForeign},
	} {
		got, err := ParseRecord(TypeKEY, append(c.head, field...), 0)
		if !errors.Is(err, c.err) || (err == nil) != equalKeys(got.Key, key) {
			t.Errorf("% x: %+v, %v", c.head, got, err)
		}
	}
	if _, err := ParseRecord(TypeKEY, []byte{0x42}, 0); !errors.Is(err, ErrForeign) {
		t.Errorf("one octet: %v", err)
	}
	if _, err := ParseRecord(TypeKEY, append([]byte{0x42, 0, 4, 1}, make([]byte, 70)...), 0); !errors.Is(err, ErrUnusable) {
		t.Errorf("a key of zeros: %v", err)
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.10":        "10.2.0.192.in-addr.arpa.",
		"::ffff:192.0.2.10": "10.2.0.192.in-addr.arpa.",
		"2001:db8:a::1":     "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
	} {
		if got := ReverseName(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
	for text, want := range map[string]string{
		"10.0.0.0/8": "10.in-addr.arpa.", "10.1.7.0/24": "7.1.10.in-addr.arpa.", "10.1.7.128/25": "7.1.10.in-addr.arpa.",
		"0.0.0.0/0": "in-addr.arpa.", "10.1.7.1/32": "1.7.1.10.in-addr.arpa.", "2001:db8::/32": "8.b.d.0.1.0.0.2.ip6.arpa.",
	} {
		if got := ReversePrefix(netip.MustParsePrefix(text)); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
	if hostName("a..b") || hostName("") || hostName("a b") || hostName(strings.Repeat("a", 64)) || !hostName("a-1.example.") {
		t.Error("host names")
	}
}

// What a stranger's name holds may be logged: it stays one word.
func TestHostileNamesStayText(t *testing.T) {
	rdata := append([]byte{10, 3, 4, 12}, "$(reboot)\n.x"...)
	rdata = append(append(rdata, 0), edKey(1)...)
	_, err := ParseRecord(TypeIPSECKEY, rdata, 0)
	if !errors.Is(err, ErrUnusable) || strings.ContainsAny(err.Error(), "\n$()") {
		t.Errorf("%v", err)
	}
}

// D25: whatever parses of IPSECKEY, TXT and KEY can be written again and means the
// same.
func FuzzRecord(f *testing.F) {
	for _, text := range []string{"0a01 04c0000201", "0ac8", "0a0302c0000102", "0a0304036777610474657374 00", "4200 0401 03010001"} {
		f.Add(uint16(45), append(unhex(f, text), edKey(1)...))
		f.Add(uint16(25), append(unhex(f, text), bytes.Repeat([]byte{0xc5}, 256)...))
	}
	f.Add(uint16(16), txtData("X-IPsec-Server(10)=192.0.2.1", " AQ=="))
	f.Add(uint16(16), txtData("X-IPsec-Server ( 7 ) = @gw.example.com", base64.StdEncoding.EncodeToString(rawkey.MarshalRSA(rsaKey(2048, 1)))))
	f.Fuzz(func(t *testing.T, rrtype uint16, rdata []byte) {
		rec, err := ParseRecord(rrtype, rdata, 0)
		if err != nil {
			if !reflect.DeepEqual(rec, Record{}) {
				t.Fatalf("%v, and yet %+v", err, rec)
			}
			return
		}
		write := map[uint16]func([]byte) ([]byte, error){TypeIPSECKEY: rec.AppendIPSECKEY, TypeTXT: rec.AppendTXT, TypeKEY: rec.AppendKEY}[rrtype]
		if rrtype == TypeTXT && rec.Key == nil {
			return // has no form that we write
		}
		b, err := write(nil)
		if err != nil {
			t.Fatalf("%+v parses and cannot be written: %v", rec, err)
		}
		again, err := ParseRecord(rrtype, b, 0)
		if err != nil || !reflect.DeepEqual(again, rec) {
			t.Fatalf("%+v, again %+v, %v", rec, again, err)
		}
	})
}
