package rawkey

import (
	"crypto"
	"errors"
	"testing"

	"golang.org/x/tools/txtar"
)

func encryptedKeys(t testing.TB) map[string][]byte {
	a, err := txtar.ParseFile("testdata/encrypted.txt")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, f := range a.Files {
		files[f.Name] = f.Data
	}
	return files
}

// What OpenSSL encrypts is read with its passphrase and no other.
func TestParsePrivateWith(t *testing.T) {
	files := encryptedKeys(t)
	plain, err := ParsePrivate(files["plain"])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file, passphrase string
		err              error
	}{
		{"plain", "", nil},
		{"aes256-sha256", "let me in", nil},
		{"3des-sha1", "let me in", nil},
		{"aes128-sha512", "let me in", nil},
		{"aes256-sha256", "let me out", ErrPassphrase},
		{"aes128-sha512", "", ErrPassphrase},
		{"old", "let me in", ErrOldCipher},
		{"scrypt", "let me in", ErrOldCipher},
		{"traditional", "let me in", ErrOldCipher},
	} {
		key, err := ParsePrivateWith(files[c.file], []byte(c.passphrase))
		if !errors.Is(err, c.err) || c.err == nil && !Equal(key.Public(), plain.Public()) {
			t.Errorf("%s, %q: %v", c.file, c.passphrase, err)
		}
	}
}

// FuzzParsePrivateWith: rubbish is an error, not a panic and not endless work.
func FuzzParsePrivateWith(f *testing.F) {
	for _, b := range encryptedKeys(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		var key crypto.Signer
		key, err := ParsePrivateWith(b, []byte("let me in"))
		if err == nil && key == nil {
			t.Error("no key and no error")
		}
	})
}
