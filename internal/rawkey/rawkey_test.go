package rawkey

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
)

// testKey is made once per run.
var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	k, err = Arrange(k, false)
	if err != nil {
		panic(err)
	}
	return k
})

// modulus is a number of that many bits, odd and with its top bit set; no key.
func modulus(bits int) *big.Int {
	b := bytes.Repeat([]byte{0x2b}, bits/8)
	b[0] = 0xb5
	return new(big.Int).SetBytes(b)
}

// The key data of freeswan.md 8.3, item 3.
func TestData(t *testing.T) {
	for text, want := range map[string]string{
		"0x12_34": "1234", "0sAQ==": "01", "0tabc": "616263", "0x01234567_89abcdef": "0123456789abcdef",
		"0XAB": "ab", "0sAQI=": "0102", "0t_": "5f",
		"0x1": "", "0x": "", "0x6d1f0c9a__77": "", "0x_12": "", "0x12_": "", "0x1_2": "", "0x12g4": "",
		"0s": "", "0sAQ=": "", "0sAQ": "", "0sAR==": "", "0sA Q==": "", "0sAQ=\n=": "", "0t": "", "abc": "", "": "", "0": "", "0b11": "",
	} {
		b, err := Data(text)
		if (err == nil) != (want != "") || hex.EncodeToString(b) != want {
			t.Errorf("Data(%q) = %x, %v; want %q", text, b, err, want)
		}
	}
}

func TestDataErrorsHideKeys(t *testing.T) {
	for _, text := range []string{"0xdeadbeef0", "0xdeadbeeg", "0sdeadbeef=", "deadbeef", "0xdeadbeef__00"} {
		if _, err := Data(text); err == nil || strings.Contains(err.Error(), "deadbee") {
			t.Errorf("Data(%q): error %v", text, err)
		}
	}
}

// The vector of freeswan.md 3.5.
func TestRSABlobVector(t *testing.T) {
	n := new(big.Int).SetBytes(append([]byte{0xb5}, bytes.Repeat([]byte{0x2a}, 127)...))
	for _, c := range []struct {
		e      int
		prefix string
		digits int
	}{
		{3, "AQO1KioqKioq", 176},
		{65537, "AwEAAbUqKioq", 176},
	} {
		pub := &rsa.PublicKey{N: n, E: c.e}
		text := base64.StdEncoding.EncodeToString(MarshalRSA(pub))
		if !strings.HasPrefix(text, c.prefix) || len(text) != c.digits {
			t.Errorf("e=%d: %d digits %.20s, want %d digits %s", c.e, len(text), text, c.digits, c.prefix)
		}
		if c.e == 3 && KeyID(pub) != "AQO1KioqK" {
			t.Errorf("key ID %s", KeyID(pub))
		}
	}
}

func TestParseRSAErrors(t *testing.T) {
	good := MarshalRSA(&rsa.PublicKey{N: modulus(1024), E: 3})
	if _, err := ParseRSA(good); err != nil {
		t.Fatal(err)
	}
	even := slices.Clone(good)
	even[len(even)-1] = 2
	for name, blob := range map[string][]byte{
		"empty":             {},
		"length only":       {3},
		"exponent only":     {1, 3},
		"no exponent":       append([]byte{0, 0, 0}, good[2:]...),
		"exponent 1":        append([]byte{1, 1}, good[2:]...),
		"exponent 4":        append([]byte{1, 4}, good[2:]...),
		"zero before e":     append([]byte{2, 0, 3}, good[2:]...),
		"zero before n":     append([]byte{1, 3, 0}, good[2:]...),
		"exponent 5 octets": append([]byte{5, 1, 0, 0, 0, 1}, good[2:]...),
		"exponent 2^31+1":   append([]byte{4, 0x80, 0, 0, 1}, good[2:]...),
		"long form cut":     {0, 1},
		"short modulus":     good[:len(good)-8],
		"even modulus":      even,
		"huge modulus":      MarshalRSA(&rsa.PublicKey{N: modulus(MaxRSABits + 8), E: 3}),
	} {
		if pub, err := ParseRSA(blob); err == nil {
			t.Errorf("%s: accepted as e=%d, %d bits", name, pub.E, pub.N.BitLen())
		}
	}
	// RFC 3110 allows the long form of the exponent's length for any length.
	if pub, err := ParseRSA(append([]byte{0, 0, 1, 3}, good[2:]...)); err != nil || pub.E != 3 {
		t.Errorf("long form: %v, %v", pub, err)
	}
}

func keyPairs(t *testing.T) []crypto.Signer {
	t.Helper()
	keys := []crypto.Signer{testKey()}
	for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return append(keys, ed)
}

func TestPublicRoundTrip(t *testing.T) {
	for _, k := range keyPairs(t) {
		pub := k.Public()
		text, err := Format(pub)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []string{
			text,
			strings.TrimPrefix(text, "0s"),
			"0s" + base64.StdEncoding.EncodeToString(der),
			"0x" + hex.EncodeToString(der),
			string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		} {
			got, err := Parse(form)
			if err != nil || !Equal(got, pub) {
				t.Errorf("%s: Parse(%.30q…) = %v", Describe(pub), form, err)
			}
		}
		if id := KeyID(pub); len(id) != 9 {
			t.Errorf("%s: key ID %q", Describe(pub), id)
		}
	}
}

func TestParseRefusesOtherKeys(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&p224.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"0s" + base64.StdEncoding.EncodeToString(der), "0sMA==", "0sAQ==", "", "%dns", "-----BEGIN PUBLIC KEY-----",
		"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
	} {
		if key, err := Parse(text); err == nil {
			t.Errorf("Parse(%.30q) = %T", text, key)
		}
	}
}

func TestPrivateRoundTrip(t *testing.T) {
	for _, k := range keyPairs(t) {
		text, err := FormatPrivate(k)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		for _, form := range [][]byte{text, block.Bytes, append([]byte("some comment\n"), text...)} {
			got, err := ParsePrivate(form)
			if err != nil || !Equal(got.Public(), k.Public()) {
				t.Errorf("%s: %v", Describe(k.Public()), err)
			}
		}
	}
	old := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testKey())})
	if k, err := ParsePrivate(old); err != nil || !Equal(k.Public(), testKey().Public()) {
		t.Errorf("PKCS#1: %v", err)
	}
}

// CFG-13: a key that cannot be used is an error that says why.
func TestParsePrivateErrors(t *testing.T) {
	for _, text := range []string{
		"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMA==\n-----END RSA PRIVATE KEY-----\n",
	} {
		if _, err := ParsePrivate([]byte(text)); !errors.Is(err, ErrEncrypted) {
			t.Errorf("%.30q: %v", text, err)
		}
	}
	for _, text := range []string{"", "rubbish", "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n", "-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----\n"} {
		if _, err := ParsePrivate([]byte(text)); err == nil {
			t.Errorf("%q accepted", text)
		}
	}
}

func blockText(t *testing.T, b Block) string {
	t.Helper()
	var w strings.Builder
	if err := b.WriteFields(&w); err != nil {
		t.Fatal(err)
	}
	return w.String()
}

func TestBlockRoundTrip(t *testing.T) {
	b := Block{testKey(), "west.example.org   Sun Mar  3 10:11:12 2030"}
	text := blockText(t, b)
	got, err := ParseBlock(text)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Key.Equal(b.Key) || got.Comment != b.Comment {
		t.Errorf("read %q, want %q; key equal: %v", got.Comment, b.Comment, got.Key.Equal(b.Key))
	}
	if again := blockText(t, got); again != text {
		t.Error("written, read and written again, the block differs")
	}
	lines := strings.Split(text, "\n")
	if want := "\t# RSA 2048 bits   west.example.org   Sun Mar  3 10:11:12 2030"; lines[0] != want {
		t.Errorf("first line %q, want %q", lines[0], want)
	}
	if !strings.HasPrefix(lines[2], "\t#pubkey=0sAwEAA") || lines[4] != "\tPublicExponent: 0x010001" {
		t.Errorf("lines %q, %q", lines[2][:20], lines[4])
	}
	// Nothing before the marker is secret.
	public, _, _ := strings.Cut(text, "everything after this point is secret")
	for _, n := range append(testKey().Primes, testKey().D) {
		if strings.Contains(public, hex.EncodeToString(n.Bytes())) {
			t.Error("a secret number stands above the marker")
		}
	}
}

func TestWriteEntry(t *testing.T) {
	var w strings.Builder
	if err := (Block{Key: testKey()}).WriteEntry(&w, "@west"); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(w.String(), "@west : RSA\t{\n\t# RSA") || !strings.HasSuffix(w.String(), "\n\t}\n# do not change the indenting of that \"}\"\n") {
		t.Error("the entry is not framed as newhostkey frames it")
	}
}

// Every field is verified: one wrong digit anywhere drops the key.
func TestBlockVerification(t *testing.T) {
	text := blockText(t, Block{Key: testKey()})
	for _, name := range fieldNames {
		at := strings.Index(text, name+": 0x") + len(name) + 4
		end := at + strings.IndexByte(text[at:], '\n')
		last := byte('0')
		if text[end-1] == '0' {
			last = '2'
		}
		bad := text[:end-1] + string(last) + text[end:]
		if _, err := ParseBlock(bad); err == nil {
			t.Errorf("a wrong %s is accepted", name)
		} else if strings.Contains(err.Error(), text[at:at+8]) {
			t.Errorf("the error of %s shows its digits: %v", name, err)
		}
		without := text[:at-len(name)-4] + text[end:]
		if _, err := ParseBlock(without); err == nil {
			t.Errorf("a block without %s is accepted", name)
		}
	}
	if _, err := ParseBlock(text + "\tExtra: 0x01\n"); err == nil {
		t.Error("a ninth field is accepted")
	}
}

func TestArrange(t *testing.T) {
	p, q := testKey().Primes[0], testKey().Primes[1]
	swapped := &rsa.PrivateKey{PublicKey: testKey().PublicKey, D: testKey().D, Primes: []*big.Int{q, p}}
	for _, phi := range []bool{false, true} {
		k, err := Arrange(swapped, phi)
		if err != nil || k.Primes[0].Cmp(k.Primes[1]) < 0 {
			t.Errorf("phi %v: %v, larger prime first: %v", phi, err, err == nil && k.Primes[0].Cmp(k.Primes[1]) > 0)
		}
	}
}

// The string lengths of freeswan.md 8.3, item 5.
// R15.2.
func TestTXTSplit(t *testing.T) {
	for _, c := range []struct {
		bits, e int
		want    []int
	}{
		{1024, 3, []int{205}},
		{2048, 3, []int{28, 255, 90}},
		{2192, 3, []int{28, 255, 114}},
		{3072, 3, []int{28, 255, 255, 7}},
		{4096, 3, []int{28, 255, 255, 179}},
		{2048, 65537, []int{28, 255, 94}},
		{3072, 65537, []int{28, 255, 255, 11}},
		{4096, 65537, []int{28, 255, 255, 179}},
	} {
		pub := &rsa.PublicKey{N: modulus(c.bits), E: c.e}
		parts, err := TXT(10, "192.0.2.1", pub)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, p := range parts {
			got = append(got, len(p))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%d bits, e=%d: strings of %v, want %v", c.bits, c.e, got, c.want)
		}
		whole := strings.Join(parts, "")
		if want := "X-IPsec-Server(10)=192.0.2.1 " + base64.StdEncoding.EncodeToString(MarshalRSA(pub)); whole != want {
			t.Errorf("%d bits: joined, the strings are %.50q…", c.bits, whole)
		}
	}
}

func TestRecords(t *testing.T) {
	pub := &rsa.PublicKey{N: modulus(1024), E: 3}
	b64 := base64.StdEncoding.EncodeToString(MarshalRSA(pub))
	ed := ed25519.NewKeyFromSeed(mustBase64(t, "VAPyMVmB/WBo3f6vbLMPnPnxEPxVN8/oDIw9CAUJDG8=")).Public()
	record := func(text string, err error) string {
		if err != nil {
			return "error: " + err.Error()
		}
		return text
	}
	for _, c := range []struct{ got, want string }{
		{record(TXTRecord(10, "@gw.example.org", pub)), "\tIN\tTXT\t\"X-IPsec-Server(10)=@gw.example.org " + b64 + "\""},
		{record(TXTRecord(10, "gw.example.org", pub)), `error: gateway must be @FQDN or IP address, not "gw.example.org"`},
		{record(TXTRecord(10, "0.0.0.0", pub)), `error: gateway must be @FQDN or IP address, not "0.0.0.0"`},
		{record(TXTRecord(10, "192.0.2.1", ed)), "error: TXT records can carry RSA keys only, not Ed25519"},
		{record(KEYRecord("gate.example.net", pub)), "gate.example.net.\tIN\tKEY\t16896 4 1 " + b64},
		// The fleet host of opportunistic.md 7.8.
		{record(IPSECKEYRecord(ReverseName(netip.MustParseAddr("198.19.0.1")), 10, "", ed)),
			"1.0.19.198.in-addr.arpa.\tIN\tIPSECKEY\t10 0 4 . +1dyZIckb5HqbqrodiPef1tCpqkojq7E0eoZX0DIJ2U="},
		{record(IPSECKEYRecord("x", 1, "2001:db8::1", pub)), "x.\tIN\tIPSECKEY\t1 2 2 2001:db8::1 " + b64},
		{record(IPSECKEYRecord("x", 1, "gw.example", pub)), "x.\tIN\tIPSECKEY\t1 3 2 gw.example. " + b64},
		{record(IPSECKEYRecord("x", 1, "a b", pub)), `error: gateway must be a domain name or IP address, not "a b"`},
	} {
		if c.got != c.want {
			t.Errorf("got  %q\nwant %q", c.got, c.want)
		}
	}
	if got := ReverseName(netip.MustParseAddr("2001:db8::1")); got != "1."+strings.Repeat("0.", 23)+"8.b.d.0.1.0.0.2.ip6.arpa." {
		t.Errorf("ReverseName = %s", got)
	}
}

// An ECDSA key in DNS is its two coordinates, RFC 6605 section 4.
func TestDNSKeyECDSA(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	field, alg, err := DNSKey(k.Public())
	if err != nil || alg != DNSAlgECDSA || len(field) != 64 {
		t.Fatalf("field of %d octets, algorithm %d, %v", len(field), alg, err)
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, field...))
	if err != nil || !pub.Equal(k.Public()) {
		t.Errorf("the field is not the point: %v", err)
	}
}

func mustBase64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whatever is read as a public key, formats and reads as the same key.
func FuzzRawkey(f *testing.F) {
	f.Add("0s" + base64.StdEncoding.EncodeToString(MarshalRSA(&rsa.PublicKey{N: modulus(1024), E: 3})))
	f.Add("0x0103b5")
	f.Add("MCowBQYDK2VwAyEA+1dyZIckb5HqbqrodiPef1tCpqkojq7E0eoZX0DIJ2U=")
	f.Fuzz(func(t *testing.T, text string) {
		if b, err := Data(text); err == nil && len(b) == 0 {
			t.Fatalf("Data(%q) has no octets and no error", text)
		}
		pub, err := Parse(text)
		if err != nil {
			return
		}
		out, err := Format(pub)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(out)
		if err != nil || !Equal(again, pub) {
			t.Fatalf("%q formats as %q, which reads as another key: %v", text, out, err)
		}
		if len(KeyID(pub)) != 9 {
			t.Fatalf("key ID %q", KeyID(pub))
		}
	})
}

// A block that is accepted is a key that can be written and read again.
func FuzzBlock(f *testing.F) {
	var w strings.Builder
	if err := (Block{Key: testKey(), Comment: "h d"}).WriteFields(&w); err != nil {
		f.Fatal(err)
	}
	f.Add(w.String())
	f.Add("Modulus: 0x0f\nPublicExponent: 0x03\n")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := ParseBlock(text)
		if err != nil {
			return
		}
		var w strings.Builder
		if err := b.WriteFields(&w); err != nil {
			t.Fatal(err)
		}
		again, err := ParseBlock(w.String())
		if err != nil || !again.Key.Equal(b.Key) {
			t.Fatalf("a block that was read is not read again: %v", err)
		}
	})
}
