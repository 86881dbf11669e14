package wire

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// The descriptors are written out here so that this package's tests stand on
// the standard library alone.
var (
	gcm = &suite.Encr{ID: 20, Name: "aes_gcm_16", KeyBits: []int{256, 128}, Salt: 4, IV: 8, ICV: 16, AEAD: true,
		NewAEAD: func(key []byte) (cipher.AEAD, error) {
			b, err := aes.NewCipher(key)
			if err != nil {
				return nil, err
			}
			return cipher.NewGCM(b)
		}}
	cbc     = &suite.Encr{ID: 12, Name: "aes_cbc", KeyBits: []int{256, 128}, IV: 16, Block: 16, NewBlock: aes.NewCipher}
	hmac256 = &suite.Integ{ID: 12, Name: "hmac_sha2_256_128", Key: 32, ICV: 16,
		New: func(key []byte) hash.Hash { return hmac.New(sha256.New, key) }}
)

// vector reads testdata/va.txt: exchange V-A, made independently of this code.
func vector(t testing.TB) func(name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/va.txt")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		if values[name], err = hex.DecodeString(value); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return func(name string) []byte {
		t.Helper()
		if values[name] == nil {
			t.Fatalf("no value %s", name)
		}
		return bytes.Clone(values[name])
	}
}

// gcmCipher returns an AES-GCM cipher whose next IV counter is next.
func gcmCipher(t testing.TB, key []byte, next uint64) SKCipher {
	t.Helper()
	c, err := NewCipher(suite.EncrChoice{Encr: gcm, Bits: 256}, nil, ipsec.NewSecret(key), ipsec.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	c.(*aeadCipher).sent = next - 1
	return c
}

func TestAdv_V2C_48_VectorVA_Init(t *testing.T) {
	va := vector(t)
	for _, name := range []string{"m1", "m2"} {
		m, err := Parse(va(name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again := Append(nil, m.Header, m.Payloads...); !bytes.Equal(again, va(name)) {
			t.Errorf("%s encoded as\n%x", name, again)
		}
	}

	m, _ := Parse(va("m1"))
	sa, _ := m.SA()
	want := []suite.Offer{{Number: 1, Protocol: suite.ProtoIKE, SPI: []byte{}, Transforms: []suite.Transform{
		{Type: suite.TypeEncr, ID: 20, KeyBits: 256}, {Type: suite.TypePRF, ID: 5}, {Type: suite.TypeKE, ID: 31}}}}
	if !reflect.DeepEqual(sa.Proposals, want) {
		t.Errorf("SA: %+v", sa.Proposals)
	}
	if ke, _ := m.KE(); ke.Group != 31 || len(ke.Data) != 32 {
		t.Errorf("KE: %+v", ke)
	}
	if n, _ := m.Nonce(); !bytes.Equal(n.Data, va("Ni")) {
		t.Errorf("Ni: %x", n.Data)
	}
	var kinds []string
	for _, n := range m.Notifies() {
		kinds = append(kinds, ike.NotifyName(n.Kind))
	}
	if got := strings.Join(kinds, " "); got != "NAT_DETECTION_SOURCE_IP NAT_DETECTION_DESTINATION_IP IKEV2_FRAGMENTATION_SUPPORTED SIGNATURE_HASH_ALGORITHMS" {
		t.Errorf("notifies: %s", got)
	}
}

func TestAdv_V2C_48_VectorVA_Protected(t *testing.T) {
	va := vector(t)
	for _, c := range []struct {
		name, inner, key string
		iv               uint64
	}{
		{"m3", "m3_inner", "SK_ei", 1}, {"m4", "m4_inner", "SK_er", 1},
		{"m5", "", "SK_ei", 2}, {"m6", "", "SK_er", 2},
	} {
		ps, err := Open(va(c.name), gcmCipher(t, va(c.key), 1))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var inner []byte
		if c.inner != "" {
			inner = va(c.inner)
		}
		if got := AppendPayloads(nil, ps); !bytes.Equal(got, inner) {
			t.Errorf("%s: inside is\n%x", c.name, got)
		}
		m, _ := Parse(va(c.name))
		if again := Seal(nil, m.Header, ps, gcmCipher(t, va(c.key), c.iv)); !bytes.Equal(again, va(c.name)) {
			t.Errorf("%s sealed as\n%x", c.name, again)
		}
	}
}

func TestVectorVA_AuthPayloads(t *testing.T) {
	va := vector(t)
	ps, err := Open(va("m3"), gcmCipher(t, va("SK_ei"), 1))
	if err != nil {
		t.Fatal(err)
	}
	idi, _ := ps.IDi()
	idr, _ := ps.IDr()
	if idi.ID != (ike.ID{Kind: ike.IDFQDN, Data: "initiator.example"}) || idr.ID.Data != "responder.example" {
		t.Errorf("identities %q %q", idi.ID, idr.ID)
	}
	// Section 2.15: MACedIDForI = prf(SK_pi, RestOfInitIDPayload).
	mac := hmac.New(sha256.New, va("SK_pi"))
	mac.Write(idi.Body())
	if !bytes.Equal(mac.Sum(nil), va("MACedIDi")) {
		t.Error("Body of IDi is not what AUTH covers")
	}
	if a, _ := ps.AUTH(); a.Method != AuthSharedKey || !bytes.Equal(a.Data, va("AUTH_i")) {
		t.Errorf("AUTH %+v", a)
	}
	tsi, _ := ps.TSi()
	want := ipsec.TSOf(netip.MustParsePrefix("10.1.0.0/16"), 0, ipsec.Ports{})
	if len(tsi.Selectors) != 1 || tsi.Selectors[0] != want {
		t.Errorf("TSi %v", tsi)
	}
	if _, ok := ps.Notify(ike.NotifyInitialContact); !ok {
		t.Error("no INITIAL_CONTACT")
	}
}

func TestAdv_FRG_16_VectorVA_Fragments(t *testing.T) {
	va := vector(t)
	var inner []byte
	var next ike.PayloadType
	for i, name := range []string{"m3_frag1", "m3_frag2"} {
		f, err := OpenFragment(va(name), gcmCipher(t, va("SK_ei"), 1))
		if err != nil || int(f.Number) != i+1 || f.Total != 2 {
			t.Fatalf("%s: %+v, %v", name, f, err)
		}
		if i == 0 {
			next = f.Next
		}
		inner = append(inner, f.Body...)
		m, _ := Parse(va(name))
		again := SealFragment(nil, m.Header, SKF{Next: f.Next, Number: f.Number, Total: 2}, f.Body, gcmCipher(t, va("SK_ei"), 0x11+uint64(i)))
		if !bytes.Equal(again, va(name)) {
			t.Errorf("%s sealed as\n%x", name, again)
		}
	}
	ps, err := ParsePayloads(next, inner)
	if err != nil || !bytes.Equal(AppendPayloads(nil, ps), va("m3_inner")) {
		t.Errorf("joined: %v", err)
	}
}
