package suite

import (
	"crypto"
	"slices"
	"strings"
	"testing"
)

// CRY-04: the groups, by the table of RFC 8247, section 2.4. What it forbids, or
// advises against without a use for old peers, has no descriptor: no name, old or
// new, means it, and no offer of it is taken. Groups 2 and 5 are for those who name
// them, and every other group of the table that we have stands among the defaults.
func TestAdv_CRY_04_Groups(t *testing.T) {
	for _, c := range []struct {
		id     uint16
		names  []string
		status string // RFC 8247
		ours   string // none, named, default
	}{
		{1, []string{"modp768", "dh1"}, "MUST NOT", "none"},
		{2, []string{"modp1024", "dh2"}, "SHOULD NOT", "named"},
		{5, []string{"modp1536", "dh5"}, "SHOULD NOT", "named"},
		{14, []string{"modp2048", "dh14"}, "MUST", "default"},
		{15, []string{"modp3072", "dh15"}, "MAY", "default"},
		{16, []string{"modp4096", "dh16"}, "MAY", "default"},
		{17, []string{"modp6144", "dh17"}, "MAY", "none"},
		{18, []string{"modp8192", "dh18"}, "MAY", "none"},
		{19, []string{"ecp256", "dh19"}, "SHOULD", "default"},
		{20, []string{"ecp384", "dh20"}, "MAY", "default"},
		{21, []string{"ecp521", "dh21"}, "MAY", "default"},
		{22, []string{"modp1024s160", "dh22"}, "MUST NOT", "none"},
		{23, []string{"modp2048s224", "dh23"}, "SHOULD NOT", "none"},
		{24, []string{"modp2048s256", "dh24"}, "SHOULD NOT", "none"},
		{31, []string{"x25519", "dh31"}, "SHOULD", "default"}, // RFC 8031
	} {
		k := KEByID(c.id)
		if (k == nil) != (c.ours == "none") {
			t.Errorf("group %d: %v", c.id, k)
		}
		if strings.HasSuffix(c.status, "NOT") != (k == nil && c.status != "MAY" || k != nil && k.Obsolete != "") {
			t.Errorf("group %d is %s, but not with us", c.id, c.status)
		}
		if (c.status == "MUST" || c.status == "SHOULD") && c.ours != "default" {
			t.Errorf("group %d is %s and not in the defaults", c.id, c.status)
		}
		for _, name := range c.names {
			for proto, parse := range map[string]func(string) ([]Proposal, error){"ike": ParseIKE, "esp": ParseESP} {
				list, err := parse("aes256-sha2_256-" + name)
				if (err == nil) != (c.ours != "none") {
					t.Errorf("%s=…-%s: %v", proto, name, err)
				}
				if err == nil && (len(list[0].Obsolete()) > 0) != (c.ours == "named") {
					t.Errorf("%s=…-%s is obsolete: %q", proto, name, list[0].Obsolete())
				}
			}
		}
		offer := Offer{Number: 1, Protocol: ProtoIKE}
		offer.add(TypeEncr, 12, 256)
		offer.add(TypePRF, 5, 0)
		offer.add(TypeInteg, 12, 0)
		offer.add(TypeKE, c.id, 0)
		for _, ours := range [][]Proposal{DefaultIKE(), mustIKE(t, "aes256-sha2_256-modp1024+modp1536+modp2048")} {
			named := slices.Contains(ours[0].KE, k) || len(ours) > 1 && slices.Contains(ours[1].KE, k)
			if _, _, err := Select(ours, []Offer{offer}); (err == nil) != (k != nil && named) {
				t.Errorf("group %d is offered to %v: %v", c.id, ours, err)
			}
		}
	}
}

// CRY-20: the counter of prf+ has one octet (RFC 7296, 2.13). Every length that
// is ever asked for is a sum of sizes of descriptors: the seven keys of an IKE SA
// (2.14), the four of a pair of Child SAs (2.17), and a key that a PPK is mixed
// into (RFC 8784, 3). No choice of descriptors comes near the limit, so that what
// lies beyond it can only be a mistake in this program, and panics.
func TestAdv_CRY_20_NoChoiceExhaustsPRFPlus(t *testing.T) {
	integ, encr, key := 0, 0, 0
	for _, i := range Integs() {
		integ = max(integ, i.Key)
	}
	for _, e := range Encrs() {
		for _, bits := range append(e.KeyBits, 0) {
			encr = max(encr, EncrChoice{e, bits}.KeyLen())
		}
	}
	for _, p := range PRFs() {
		key = max(key, p.Key)
	}
	if integ == 0 || encr == 0 || key == 0 {
		t.Fatal("there are no descriptors")
	}
	for _, p := range PRFs() {
		limit := 255 * p.Out
		if n := 3*key + 2*integ + 2*encr; n > limit/2 {
			t.Errorf("an IKE SA takes %d octets of %s, which has %d", n, p.Name, limit)
		}
		if got := p.Plus([]byte("key"), nil, limit); len(got) != limit {
			t.Errorf("%s: %d octets", p.Name, len(got))
		}
		for _, n := range []int{-1, limit + 1, 1 << 30} {
			if !panics(func() { p.Plus([]byte("key"), nil, n) }) {
				t.Errorf("%s gives %d octets", p.Name, n)
			}
		}
	}
}

func panics(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return false
}

// CRY-19: SK_d, SK_pi and SK_pr of V-A with a PPK mixed in: RFC 8784, 3.
func TestAdv_CRY_19_PPKVectors(t *testing.T) {
	v, mixed := one(t, "exchange.txt", "SKEYSEED"), one(t, "exchange.txt", "ppk")
	for _, name := range []string{"SK_d", "SK_pi", "SK_pr"} {
		key := v.hex(t, name)
		same(t, name, PRFByID(5).Plus(mixed.hex(t, "ppk"), key, len(key)), mixed.hex(t, name))
	}
}

// CRY-23: HMAC-SHA2-256 cut to 96 bits, of a draft that became RFC 4868 with 128,
// has no name here and is not to be had by any spelling.
func TestAdv_CRY_23_ShortSHA2(t *testing.T) {
	for _, word := range []string{"sha2_256_96", "sha256_96", "sha2_256-96", "sha256-96", "hmac-sha2_256-96", "hmac_sha2_256_96", "sha2_truncbug", "sha256_2_96"} {
		if list, err := ParseESP("aes256-" + word); err == nil {
			t.Errorf("esp=aes256-%s: %v", word, list)
		}
		if list, err := ParseAH(word); err == nil {
			t.Errorf("ah=%s: %v", word, list)
		}
		if list, err := ParseIKE("aes256-" + word + "-modp2048"); err == nil {
			t.Errorf("ike=aes256-%s: %v", word, list)
		}
	}
	for _, i := range Integs() {
		// RFC 4868, 2.1.1: the ICV is half of what the hash gives; RFC 2403
		// and 2404 cut MD5 and SHA-1 to 96.
		want := i.New(make([]byte, i.Key)).Size() / 2
		if i.Obsolete != "" {
			want = 12
		}
		if got := len(i.Sum(make([]byte, i.Key), []byte("data"))); got != want || i.ICV != want {
			t.Errorf("%s: the ICV has %d octets, %d by its descriptor", i.Name, got, i.ICV)
		}
	}
}

// CRY-26: IKE without encryption, ESP that neither encrypts nor authenticates, and
// DES: neither a configuration nor an offer of a peer brings them about.
func TestAdv_CRY_26_NullAndDES(t *testing.T) {
	for text, want := range map[string]string{
		"null-sha2_256-modp2048": "IKE itself is always encrypted",
		"null-null-modp2048":     "encryption without integrity protects nothing",
		"des-sha1-modp2048":      "DES is broken",
		"aes256-null-modp2048":   "encryption without integrity protects nothing",
	} {
		if list, err := ParseIKE(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ike=%s: %v, %v; want %q", text, list, err, want)
		}
	}
	for text, want := range map[string]string{
		"null-null": "encryption without integrity protects nothing",
		"null-none": "encryption without integrity protects nothing",
		"des-md5":   "DES is broken",
	} {
		if list, err := ParseESP(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("esp=%s: %v, %v; want %q", text, list, err, want)
		}
	}
	if list := mustESP(t, "null"); len(list[0].Integ) == 0 {
		t.Error("esp=null has no integrity algorithm")
	}
	const encrDES, encrNULL, encrDESIV64, encrDESIV32 = 2, 11, 1, 9
	for _, cipher := range []uint16{encrDESIV64, encrDES, encrDESIV32, encrNULL} {
		o := Offer{Number: 1, Protocol: ProtoIKE}
		o.add(TypeEncr, cipher, 0)
		o.add(TypePRF, 5, 0)
		o.add(TypeInteg, 12, 0)
		o.add(TypeKE, 14, 0)
		for _, ours := range [][]Proposal{DefaultIKE(), FreeSWANIKE(), mustIKE(t, "aes256+3des-sha2+sha1-modp2048")} {
			if c, _, err := Select(ours, []Offer{o}); err == nil {
				t.Errorf("IKE with cipher %d: %v", cipher, c)
			}
		}
		for _, integ := range []int{-1, 0} { // without a transform, and NONE
			o := Offer{Number: 1, Protocol: ProtoESP}
			o.add(TypeEncr, cipher, 0)
			if integ >= 0 {
				o.add(TypeInteg, uint16(integ), 0)
			}
			o.add(TypeESN, 0, 0)
			for _, ours := range [][]Proposal{DefaultESP(false), FreeSWANESP(false), mustESP(t, "null-sha2_256"), mustESP(t, "aes256-sha2_256")} {
				if c, _, err := Select(ours, []Offer{o}); err == nil {
					t.Errorf("ESP with cipher %d and no integrity: %v", cipher, c)
				}
			}
		}
	}
}

// CRY-14: whatever looks at a signature or a hash of the peer says no by an error
// and yes by nil: there is no bool to forget or to turn round. These lines do not
// compile otherwise; ike's test of the same number has what the machines make of it.
func TestAdv_CRY_14_NoIsAnError(t *testing.T) {
	var (
		digital func(crypto.PublicKey, uint8, []byte, []byte) error                  = VerifySignature
		policy  func(SignaturePolicy, crypto.PublicKey, uint8, []byte, []byte) error = SignaturePolicy.Verify
		hash    func(SignaturePolicy, crypto.PublicKey, []byte, []byte) error        = SignaturePolicy.VerifyHash
	)
	for _, key := range testKeys(t) {
		pub := key.Public()
		if digital(pub, MethodDigital, nil, nil) == nil || policy(SignaturePolicy{}, pub, MethodRSA, nil, nil) == nil || hash(SignaturePolicy{}, pub, nil, nil) == nil {
			t.Errorf("nothing verifies with %T", pub)
		}
	}
}
