package suite

import (
	"slices"
	"strings"
	"testing"
)

const (
	allPRF   = "PRF_HMAC_SHA2_256+PRF_HMAC_SHA2_384+PRF_HMAC_SHA2_512"
	allInteg = "HMAC_SHA2_256_128+HMAC_SHA2_384_192+HMAC_SHA2_512_256"
	allKE    = "X25519+ECP_256+ECP_384+ECP_521+MODP_3072+MODP_2048+MODP_4096"
	aesAny   = "AES_CBC_256+AES_CBC_128+AES_CBC_192"
)

// What each spelling means; proposals are joined by " , ".
func TestParseIKE(t *testing.T) {
	for text, want := range map[string]string{
		"aes256-sha2_256-modp2048":     "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048",
		"aes256-sha256-modp2048!":      "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048",
		"AES256-SHA2-DH14":             "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048",
		"aes128-sha1;modp1024":         "AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024",
		"3des-md5-modp1536":            "3DES_CBC/HMAC_MD5_96/PRF_HMAC_MD5/MODP_1536",
		"3des-sha;modp1536":            "3DES_CBC/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1536",
		"3des-md5-96":                  "3DES_CBC/HMAC_MD5_96/PRF_HMAC_MD5/" + allKE,
		"aes_gcm256-sha256-x25519":     "AES_GCM_16_256/PRF_HMAC_SHA2_256/X25519",
		"aes_gcm_c_256-sha2_512-dh19":  "AES_GCM_16_256/PRF_HMAC_SHA2_512/ECP_256",
		"aes256gcm16-prfsha384-ecp384": "AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384",
		"aes128gcm96-prfsha512-p521":   "AES_GCM_12_128/PRF_HMAC_SHA2_512/ECP_521",
		"aes256gcm16":                  "AES_GCM_16_256/" + allPRF + "/" + allKE,
		"aes_gcm256-null-sha256-dh31":  "AES_GCM_16_256/PRF_HMAC_SHA2_256/X25519",
		"aes_gcm-288-sha2-dh31":        "AES_GCM_16_256/PRF_HMAC_SHA2_256/X25519",
		"aes-128-sha2-dh14":            "AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048",
		"aes-sha2-dh14":                aesAny + "/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048",
		"aes256-sha1-sha2_256-dh14":    "AES_CBC_256/HMAC_SHA1_96/PRF_HMAC_SHA2_256/MODP_2048",
		"aes256-sha1-prfsha256-dh14":   "AES_CBC_256/HMAC_SHA1_96/PRF_HMAC_SHA2_256/MODP_2048",
		"aes256+aes128-sha2+sha2_512-dh14+dh31": "AES_CBC_256+AES_CBC_128/HMAC_SHA2_256_128+HMAC_SHA2_512_256/" +
			"PRF_HMAC_SHA2_256+PRF_HMAC_SHA2_512/MODP_2048+X25519",
		"aes256-aes128-sha256-modp2048-x25519": "AES_CBC_256+AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048+X25519",
		"aes256":                               "AES_CBC_256/" + allInteg + "/" + allPRF + "/" + allKE,
		"aes256+aes-sha2-dh14":                 "AES_CBC_256+AES_CBC_128+AES_CBC_192/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048",
		"chacha20poly1305-prfsha256-x25519":    "CHACHA20_POLY1305/PRF_HMAC_SHA2_256/X25519",
		"chacha20_poly1305-sha512-mlkem768":    "CHACHA20_POLY1305/PRF_HMAC_SHA2_512/ML_KEM_768",
		"aes256-sha2-dh14, 3des-sha1-dh5":      "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048 , 3DES_CBC/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1536",
	} {
		check(t, "ike", text, want, ParseIKE)
	}
}

func TestParseESPAndAH(t *testing.T) {
	for text, want := range map[string]string{
		"aes256-sha2_256":            "AES_CBC_256/HMAC_SHA2_256_128/ESN+NO_ESN",
		"aes128-sha1-modp1536":       "AES_CBC_128/HMAC_SHA1_96/MODP_1536/ESN+NO_ESN",
		"aes_gcm256":                 "AES_GCM_16_256/ESN+NO_ESN",
		"aes_gcm256-null":            "AES_GCM_16_256/ESN+NO_ESN",
		"aes_gcm_c-160-null":         "AES_GCM_16_128/ESN+NO_ESN",
		"aes128gcm16-x25519-noesn":   "AES_GCM_16_128/X25519/NO_ESN",
		"aes128gcm16-esn-noesn":      "AES_GCM_16_128/ESN+NO_ESN",
		"3des-md5":                   "3DES_CBC/HMAC_MD5_96/ESN+NO_ESN",
		"3des-sha1-96":               "3DES_CBC/HMAC_SHA1_96/ESN+NO_ESN",
		"3des-hmac-md5-96":           "3DES_CBC/HMAC_MD5_96/ESN+NO_ESN",
		"aes-sha1-96":                aesAny + "/HMAC_SHA1_96/ESN+NO_ESN",
		"aes-sha2_256-128":           aesAny + "/HMAC_SHA2_256_128/ESN+NO_ESN",
		"aes-128-sha1-96":            "AES_CBC_128/HMAC_SHA1_96/ESN+NO_ESN",
		"null-sha2_256":              "NULL/HMAC_SHA2_256_128/ESN+NO_ESN",
		"aes256-sha2_256+sha2_512":   "AES_CBC_256/HMAC_SHA2_256_128+HMAC_SHA2_512_256/ESN+NO_ESN",
		"aes256":                     "AES_CBC_256/" + allInteg + "/ESN+NO_ESN",
		"aes_gcm256,aes256-sha2_256": "AES_GCM_16_256/ESN+NO_ESN , AES_CBC_256/HMAC_SHA2_256_128/ESN+NO_ESN",
	} {
		check(t, "esp", text, want, ParseESP)
	}
	for text, want := range map[string]string{
		"hmac-md5-96":       "HMAC_MD5_96/ESN+NO_ESN",
		"HMAC-SHA1":         "HMAC_SHA1_96/ESN+NO_ESN",
		"sha2_256":          "HMAC_SHA2_256_128/ESN+NO_ESN",
		"sha1-modp2048":     "HMAC_SHA1_96/MODP_2048/ESN+NO_ESN",
		"md5+sha1,sha2_512": "HMAC_MD5_96+HMAC_SHA1_96/ESN+NO_ESN , HMAC_SHA2_512_256/ESN+NO_ESN",
	} {
		check(t, "ah", text, want, ParseAH)
	}
}

func check(t *testing.T, what, text, want string, parse func(string) ([]Proposal, error)) {
	t.Helper()
	got, err := parse(text)
	if err != nil {
		t.Errorf("%s=%s: %v", what, text, err)
		return
	}
	var words []string
	for _, p := range got {
		words = append(words, p.String())
	}
	if s := strings.Join(words, " , "); s != want {
		t.Errorf("%s=%s:\n got %s\nwant %s", what, text, s, want)
	}
}

// Errors name the word, and the one that was meant.
func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  `empty proposal`,
		"aes256-sha2,,aes":                  `empty proposal`,
		"-":                                 `"-" names no cipher`,
		"ase256-sha2":                       `unknown algorithm "ase256" in "ase256-sha2", did you mean "aes256"?`,
		"aes256-sha3-modp2048":              `unknown algorithm "sha3" in "aes256-sha3-modp2048", did you mean "sha2"?`,
		"aes256-sha2-modp2047":              `did you mean "modp2048"?`,
		"aes256-sha2-x2551":                 `did you mean "x25519"?`,
		"aes_gcn256":                        `did you mean "aes_gcm256"?`,
		"xyzzy":                             `unknown algorithm "xyzzy"`,
		"des-md5":                           `algorithm "des" in "des-md5": DES is broken`,
		"aes-sha1-modp768":                  `768-bit group is broken`,
		"aes-sha2-dh22":                     `trapdoor`,
		"aes-512-sha2":                      `aes has no key size of 512 bits, but [256 128 192]`,
		"aes256-128-sha2":                   `what is "128" the size of?`,
		"aes512-sha2":                       `unknown algorithm "aes512"`,
		"aes256-null":                       `encryption without integrity protects nothing`,
		"null-null":                         `encryption without integrity protects nothing`,
		"aes256-sha2+null":                  `both an integrity algorithm and none`,
		"aes_gcm256+aes256-sha2":            `write two proposals (RFC 5282)`,
		"null-sha2-modp2048":                `IKE itself is always encrypted`,
		"aes256-sha2-esn":                   `IKE has no extended sequence numbers`,
		strings.Repeat("aes,", 300):         `empty proposal`,
		"aes" + strings.Repeat(",aes", 300): `at most 255`,
	} {
		got, err := ParseIKE(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ike=%.40s: %v, %v; want an error with %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"aes256-sha2_256": `AH does not encrypt, it has no aes256`, "sha1-aes": `AH does not encrypt`, "sha1-sha2": `one too many`, "hmac": `unknown algorithm "hmac"`, "": `empty proposal`,
	} {
		if got, err := ParseAH(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ah=%s: %v, %v; want an error with %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"aes256-sha2-sha2_512": `integrity sha2_512 is one too many`,
		"aes_gcm256-sha2":      `integrity sha2 is one too many`,
	} {
		if got, err := ParseESP(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("esp=%s: %v, %v; want an error with %q", text, got, err, want)
		}
	}
}

func TestObsolete(t *testing.T) {
	for text, want := range map[string][]string{
		"aes256-sha2-modp2048":    nil,
		"3des-md5-modp1024":       {"3des_cbc", "hmac_md5_96", "prf_hmac_md5", "modp_1024"},
		"aes256-sha1-sha2-dh5":    {"hmac_sha1_96", "modp_1536"},
		"aes128gcm8-sha2-x25519":  {"aes_gcm_8"},
		"aes128gcm12-sha2-x25519": nil,
	} {
		p, err := ParseIKE(text)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, line := range p[0].Obsolete() {
			name, why, _ := strings.Cut(line, ": ")
			names = append(names, name)
			if why == "" {
				t.Errorf("%s: no reason", line)
			}
		}
		if !slices.Equal(names, want) {
			t.Errorf("%s: %v, want %v", text, names, want)
		}
	}
}

// Nothing obsolete by default, and AEADs never beside other ciphers.
func TestDefaults(t *testing.T) {
	for name, list := range map[string][]Proposal{
		"ike": DefaultIKE(), "esp": DefaultESP(false), "esp with pfs": DefaultESP(true), "ah": DefaultAH(true),
	} {
		for _, p := range list {
			if o := p.Obsolete(); len(o) > 0 {
				t.Errorf("%s offers %v", name, o)
			}
			for _, c := range p.Encr {
				if c.AEAD != p.AEAD() {
					t.Errorf("%s mixes AEADs with others", name)
				}
			}
			if p.AEAD() == (len(p.Integ) > 0) {
				t.Errorf("%s: integrity algorithms %v", name, p.Integ)
			}
		}
	}
	if got := DefaultIKE()[0].String(); got != "AES_GCM_16_256+AES_GCM_16_128+CHACHA20_POLY1305/"+allPRF+"/"+allKE {
		t.Error(got)
	}
	if len(FreeSWANIKE()[0].Obsolete()) != 4 || FreeSWANESP(true)[0].KE[0].ID != 5 {
		t.Error("FreeS/WAN's own proposals")
	}
	// Callers own what they get.
	DefaultIKE()[0].Encr[0] = EncrChoice{}
	if DefaultIKE()[0].Encr[0].Encr == nil {
		t.Error("a caller changed the defaults")
	}
}

// Every printed name reads back as the algorithm that has it, and no name
// means two things.
func TestNames(t *testing.T) {
	seen := map[string]string{}
	claim := func(kind, name, owner string) {
		key := kind + " " + fold(name)
		if other, ok := seen[key]; ok && other != owner {
			t.Errorf("%s means %s and %s", key, other, owner)
		}
		seen[key] = owner
	}
	for _, e := range Encrs() {
		for _, n := range append(e.Conf, e.Name) {
			claim("cipher", n, e.Name)
			if EncrByName(n) != e || EncrByID(e.ID) != e {
				t.Errorf("EncrByName(%s)", n)
			}
		}
		for _, b := range e.KeyBits {
			if got, bits := findCipher(EncrChoice{e, b}.String()); !e.Fixed && (got == nil || bits[0] != b) {
				t.Errorf("%s_%d reads as %v", e.Name, b, got)
			}
		}
	}
	for _, i := range Integs() {
		for _, n := range append(i.Conf, i.Name) {
			claim("hash", n, i.Name)
			if IntegByName(n) != i || IntegByID(i.ID) != i {
				t.Errorf("IntegByName(%s)", n)
			}
		}
		if PRFByName(i.Conf[0]) == nil {
			t.Errorf("no PRF goes with %s", i.Name)
		}
	}
	for _, p := range PRFs() {
		for _, n := range append(p.Conf, p.Name) {
			if PRFByName(n) != p || PRFByID(p.ID) != p {
				t.Errorf("PRFByName(%s)", n)
			}
		}
	}
	for _, k := range KEs() {
		for _, n := range append(k.Conf, k.Name) {
			claim("hash", n, k.Name) // groups stand where hashes may
			if KEByName(n) != k || KEByID(k.ID) != k {
				t.Errorf("KEByName(%s)", n)
			}
		}
	}
	if EncrByID(9999) != nil || PRFByName("x") != nil || IntegByID(0) != nil || KEByID(0) != nil {
		t.Error("unknown things are found")
	}
}

// Whatever parses can be offered, fits the wire, meets itself, and prints.
func FuzzParseIKE(f *testing.F) {
	for _, s := range []string{
		"aes256-sha2_256-modp2048", "aes_gcm256-sha256-x25519,3des-md5;modp1024", "aes-128-sha1-96",
		"aes256gcm16-prfsha384-ecp384!", "aes+3des-sha2+sha1-dh14+dh2", "null-null", "aes_gcm_c-160-null", ",", "-", "+",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) ([]Proposal, error){ParseIKE, ParseESP, ParseAH} {
			list, err := parse(text)
			if err != nil {
				continue
			}
			var offers []Offer
			for i, p := range list {
				o := p.Offer(uint8(i+1), nil)
				if len(o.Transforms) == 0 || len(o.Transforms) > 255 {
					t.Fatalf("%q: %d transforms", text, len(o.Transforms))
				}
				if p.Protocol == ProtoIKE && p.AEAD() == o.has(TypeInteg) {
					t.Fatalf("%q: integrity and AEAD", text)
				}
				offers = append(offers, o)
			}
			c, _, err := Select(list, offers)
			if err != nil {
				t.Fatalf("%q does not meet itself: %v", text, err)
			}
			if _, err := Check(list, c.Offer(1, nil)); err != nil {
				t.Fatalf("%q: own choice: %v", text, err)
			}
		}
	})
}
