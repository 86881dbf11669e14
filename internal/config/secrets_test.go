package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/txtar"

	"cygnet/internal/rawkey"
)

// describeSecret shows an entry, secret included: this is a test.
func describeSecret(e Secret) string {
	var words []string
	for _, i := range e.Index {
		switch {
		case i.Any:
			words = append(words, "%any")
		case i.Name != "":
			words = append(words, "name:"+i.Name)
		default:
			words = append(words, i.ID.String())
		}
	}
	if len(words) == 0 {
		words = []string{"everybody"}
	}
	what := fmt.Sprintf("PSK %q", e.PSK.Bytes())
	if e.Kind == SecretEAP {
		words, what = e.Users, fmt.Sprintf("EAP %q", e.Password.Bytes())
	}
	if e.Kind == SecretPPK {
		what = fmt.Sprintf("PPKS %q %q", e.PPKID, e.PPK.Bytes())
	}
	if e.Kind == SecretPrivate {
		what = rawkey.Describe(e.Private.Signer().Public()) + " " + e.Comment
	}
	return fmt.Sprintf("%s:%d: %s: %s", e.Where.File, e.Where.Line, strings.Join(words, " "), what)
}

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	if k, err = rawkey.Arrange(k, false); err != nil {
		panic(err)
	}
	return k
})

func rsaEntry(t testing.TB, index string) string {
	t.Helper()
	var b strings.Builder
	if err := (rawkey.Block{Key: testKey(), Comment: "west   Sun Mar  3 10:11:12 2030"}).WriteEntry(&b, index); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func parseSecrets(text string) *Secrets {
	return ParseSecrets(MapFS{Files: map[string]string{"s": text}}, "s", SecretsOptions{})
}

func TestSecretsRSA(t *testing.T) {
	text := rsaEntry(t, "") + "192.0.2.1 198.51.100.1 : PSK \"a secret of more than twenty octets\"\n" + rsaEntry(t, "@west")
	s := parseSecrets(text)
	if len(s.Errors)+len(s.Warnings) > 0 || len(s.Entries) != 3 {
		t.Fatalf("%d entries, errors %v, warnings %v", len(s.Entries), s.Errors, s.Warnings)
	}
	for _, i := range []int{0, 2} {
		e := s.Entries[i]
		if e.Kind != SecretPrivate || !testKey().Equal(e.Private.Signer()) || e.Comment != "west   Sun Mar  3 10:11:12 2030" {
			t.Errorf("entry %d: %s", i, describeSecret(e))
		}
	}
	if len(s.Entries[0].Index) != 0 || len(s.Entries[2].Index) != 1 {
		t.Error("indices of the RSA entries are wrong")
	}
}

// The block in one line, and with its brace on a line of its own.
func TestSecretsRSALayouts(t *testing.T) {
	var b strings.Builder
	if err := (rawkey.Block{Key: testKey()}).WriteFields(&b); err != nil {
		t.Fatal(err)
	}
	var plain []string
	for _, line := range strings.Split(b.String(), "\n") {
		if !strings.Contains(line, "#") {
			plain = append(plain, strings.TrimSpace(line))
		}
	}
	for _, text := range []string{
		": RSA { " + strings.Join(plain, " ") + " }\n",
		": rsa\n  {\n" + b.String() + "  } # done\n",
		"@west:\n RSA {" + b.String() + " }",
	} {
		if s := parseSecrets(text); len(s.Entries) != 1 || len(s.Errors) > 0 {
			t.Errorf("%.20q: %d entries, %v", text, len(s.Entries), s.Errors)
		}
	}
}

// A damaged key drops its record and no other (S5), and its digits stay secret.
func TestSecretsRSADamaged(t *testing.T) {
	good := rsaEntry(t, "")
	d := testKey().D.Text(16)
	for name, bad := range map[string]string{
		"wrong digit":       strings.Replace(good, d[len(d)-8:], "00000000", 1),
		"brace in column 1": strings.Replace(good, "\t}", "}", 1),
		"no brace":          strings.Replace(good, "\t}", "", 1),
		"text after brace":  strings.Replace(good, "\t}", "\t} x", 1),
		"field missing":     strings.Replace(good, "\tPrime2", "\t#Prime2", 1),
	} {
		s := parseSecrets(bad + "@a : PSK \"another secret, which is long enough\"\n")
		if len(s.Entries) != 1 || s.Entries[0].Kind != SecretPSK || len(s.Errors) == 0 {
			t.Errorf("%s: %d entries, errors %v", name, len(s.Entries), s.Errors)
		}
		for _, p := range s.Errors {
			if strings.Contains(p.Error(), d[:16]) {
				t.Errorf("%s: the error shows the key", name)
			}
		}
	}
}

func TestSecretsKeyFiles(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecPEM, err := rawkey.FormatPrivate(ec)
	if err != nil {
		t.Fatal(err)
	}
	rsaPEM, err := rawkey.FormatPrivate(testKey())
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(rsaPEM)
	archive, err := txtar.ParseFile("../rawkey/testdata/encrypted.txt")
	if err != nil {
		t.Fatal(err)
	}
	locked := map[string]string{}
	for _, f := range archive.Files {
		locked[f.Name] = string(f.Data)
	}
	fsys := MapFS{
		Files: map[string]string{
			"s": ": ECDSA ec.pem\n@west : RSA /k/rsa.pem\n: PKCS8 rsa.der\n: RSA missing.pem\n: RSA loose.pem\n: RSA junk.pem\n: RSA ec.pem \"passphrase\"\n: RSA locked.pem\n" +
				": PKCS8 locked.pem \"let me in\"\n: PKCS8 locked.pem \"let me out\"\n: RSA old.pem \"let me in\"\n: RSA locked.pem %prompt\n: RSA locked.pem a b\n: PIN 1234\n",
			"private/ec.pem": string(ecPEM), "/k/rsa.pem": string(rsaPEM), "private/rsa.der": string(block.Bytes), "private/loose.pem": string(ecPEM), "private/junk.pem": "junk",
			"private/locked.pem": locked["aes256-sha256"], "private/old.pem": locked["old"],
		},
		Infos: map[string]Info{"private/loose.pem": {Mode: 0o644, Trusted: true}},
	}
	s := ParseSecrets(fsys, "s", SecretsOptions{PrivateDir: "private"})
	if len(s.Entries) != 5 || !ec.Equal(s.Entries[0].Private.Signer()) || !testKey().Equal(s.Entries[1].Private.Signer()) || !testKey().Equal(s.Entries[2].Private.Signer()) || !ec.Equal(s.Entries[3].Private.Signer()) {
		t.Errorf("%d entries", len(s.Entries))
	}
	want := []string{
		`s:4: cannot read "private/missing.pem": no such file`,
		`private/loose.pem: secrets file is not used: it has mode 0644, open to group or others (chmod 600 private/loose.pem)`,
		`s:6: key file "private/junk.pem": not a private key in PKCS#8, PKCS#1 or SEC 1 form`,
		`s:8: key file "private/locked.pem": private key is encrypted with a passphrase (write the passphrase in quotes after the file name)`,
		`s:10: key file "private/locked.pem": the passphrase is wrong`,
		`s:11: key file "private/old.pem": private key is encrypted in a way that is not read: only PKCS #8 with PBES2 is (rewrite it with openssl pkcs8 -topk8 -v2 aes-256-cbc)`,
		`s:12: nobody is there to be asked for a passphrase (write it in quotes after the file name)`,
		`s:13: unexpected text after the key file (a passphrase stands in quotes: : RSA key.pem "the passphrase")`,
		`s:14: keys on smart cards are not used (put the private key into a file of ipsec.d/private)`,
	}
	for i, p := range s.Errors {
		if i >= len(want) || p.Error() != want[i] {
			t.Errorf("error %d: %v", i, p)
		}
	}
	if len(s.Errors) != len(want) {
		t.Errorf("%d errors, want %d", len(s.Errors), len(want))
	}
}

// R8.1 and CFG-08, CFG-09: what a secrets file must not be.
func TestSecretsPermissions(t *testing.T) {
	const text = "@a @b : PSK \"a secret of more than twenty octets\"\n"
	for _, c := range []struct {
		info Info
		want string
	}{
		{Info{Mode: 0o600, Trusted: true}, ""},
		{Info{Mode: 0o400, Trusted: true}, ""},
		{Info{Mode: 0o640, Trusted: true}, "has mode 0640, open to group or others (chmod 600 s)"},
		{Info{Mode: 0o604, Trusted: true}, "has mode 0604, open to group or others (chmod 600 s)"},
		{Info{Mode: 0o600, UID: 1000}, "belongs to user 1000, not to root (chown root s)"},
		{Info{Mode: 0o600, Trusted: true, Symlink: true}, "is a symbolic link (put the file itself there)"},
		{Info{Mode: 0o600, Trusted: true, LooseDir: "/tmp/x"}, "lies in directory /tmp/x, which others may write to (chmod go-w /tmp/x)"},
	} {
		fsys := MapFS{Files: map[string]string{"s": text}, Infos: map[string]Info{"s": c.info}}
		strict := ParseSecrets(fsys, "s", SecretsOptions{})
		lax := ParseSecrets(fsys, "s", SecretsOptions{Warn: true})
		if c.want == "" {
			if len(strict.Entries) != 1 || len(strict.Errors) > 0 {
				t.Errorf("%+v: %d entries, %v", c.info, len(strict.Entries), strict.Errors)
			}
			continue
		}
		if len(strict.Entries) != 0 || len(strict.Errors) != 1 || strict.Errors[0].Error() != "s: secrets file is not used: it "+c.want {
			t.Errorf("%+v: %d entries, %v", c.info, len(strict.Entries), strict.Errors)
		}
		if len(lax.Entries) != 1 || len(lax.Warnings) != 1 || lax.Warnings[0].Error() != "s: secrets file "+c.want {
			t.Errorf("secretsperm=warn, %+v: %d entries, %v", c.info, len(lax.Entries), lax.Warnings)
		}
	}
}

// R7.7: a published secret is no secret.
func TestSecretsExamples(t *testing.T) {
	const text = `10.0.0.1 11.0.0.1 : PSK "jxTR1lnmSjuj33n4W51uW3kTR55luUmSmnlRUuWnkjRj3UuTV4T3USSu23Uk55nWu5TkTUnjT"` + "\n"
	s := parseSecrets(text)
	if len(s.Entries) != 0 || len(s.Errors) != 1 || !strings.Contains(s.Errors[0].Text, "example") {
		t.Errorf("%d entries, %v", len(s.Entries), s.Errors)
	}
	s = ParseSecrets(MapFS{Files: map[string]string{"s": text}}, "s", SecretsOptions{AllowExamples: true})
	if len(s.Entries) != 1 {
		t.Errorf("allowed, it is still refused: %v", s.Errors)
	}
	for _, e := range exampleSecrets {
		if _, err := rawkey.Data(e); err != nil {
			t.Errorf("example %.12s… does not decode: %v", e, err)
		}
	}
}

// R7.3: long secrets are welcome.
func TestSecretsLong(t *testing.T) {
	long := strings.Repeat("long and ugly; ", 67)[:1000]
	if s := parseSecrets(`: PSK "` + long + `"`); len(s.Entries) != 1 || string(s.Entries[0].PSK.Bytes()) != long {
		t.Errorf("%d entries, %v", len(s.Entries), s.Errors)
	}
	if s := parseSecrets(`: PSK "` + strings.Repeat(long, 5) + `"`); len(s.Entries) != 0 || len(s.Errors) != 1 {
		t.Error("a secret of 5000 octets is accepted")
	}
}

// R6.3: 999 pairs are nothing.
func TestSecretsMany(t *testing.T) {
	var b strings.Builder
	for i := range 999 {
		fmt.Fprintf(&b, "192.0.2.1 10.0.%d.%d : PSK 0x%064x\n", i/256, i%256, 1+i*7919)
	}
	if s := parseSecrets(b.String()); len(s.Entries) != 999 || len(s.Errors) > 0 {
		t.Errorf("%d entries, %d errors", len(s.Entries), len(s.Errors))
	}
}

// CFG-11 and CFG-12: whatever is wrong with the canary's record, no message
// and no way of printing shows the canary.
func TestSecretsNeverShown(t *testing.T) {
	const canary = "CANARYcanary0123456789abcdef"
	quoted := `"` + canary + `"`
	for _, text := range []string{
		": PSK " + quoted, ": PSK " + canary, ": " + canary, ": PSK \"" + canary, "a b PSK " + quoted + " x", ": PSK " + quoted + " trailing",
		quoted + " a b : PSK", quoted + " : PSK " + quoted, ": PSK 0x" + canary, ": PSK 0s" + canary + "=x", ": PSK 0t" + canary, ": PSK '" + canary,
		": RSA { " + canary + " }", ": RSA { Modulus: " + canary + " }", ": RSA { Modulus: 0x" + canary + " }", ": PSK { " + canary + " }", "{ " + canary + " } : PSK \"x\"",
		"@a : PSK " + quoted + "\n" + "PSK\n " + canary, " " + canary, ": XAUTH " + quoted, ": RSA f.pem " + quoted,
	} {
		s := parseSecrets(text + "\n")
		var shown strings.Builder
		for _, p := range append(s.Errors, s.Warnings...) {
			fmt.Fprintln(&shown, p, p.Text)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(&shown, verb, s)
		}
		for _, e := range s.Entries {
			fmt.Fprintf(&shown, "%v %+v %#v %x", e, e, &e, e.PSK)
		}
		j, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		shown.Write(j)
		slog.New(slog.NewTextHandler(&shown, nil)).Info("secrets", "s", s, "entries", s.Entries)
		out := strings.ToLower(shown.String())
		if strings.Contains(out, "canary") || strings.Contains(out, fmt.Sprintf("%x", "canary")) {
			t.Errorf("%q: shown in %s", text, shown.String())
		}
	}
}
