package config

import (
	"crypto"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// Censor replaces keys in configuration text by what identifies them, for
// dumps that are shown to strangers (freeswan.md 4.13).
type Censor struct {
	key    []byte
	stable bool
}

// NewCensor returns a censor whose sums can be compared within one dump only:
// key is random and forgotten afterwards, so a short secret cannot be guessed
// from its sum.
func NewCensor(key []byte) Censor { return Censor{key: slices.Clone(key)} }

// StableCensor returns the censor of FreeS/WAN, whose sums are parts of the MD5
// of the value. They help whoever guesses secrets.
func StableCensor() Censor { return Censor{stable: true} }

// sum stands for a secret value.
func (c Censor) sum(value string) string {
	if c.stable {
		d := md5.Sum([]byte(value))
		return fmt.Sprintf("[sums to %x...]", d[:2])
	}
	h := hmac.New(sha256.New, c.key)
	h.Write([]byte(value))
	return fmt.Sprintf("[sums to %x...]", h.Sum(nil)[:2])
}

// keyNames are the parameters whose values are keys.
var keyNames = []string{"rsasigkey", "rsasigkey2", "sigkey", "pubkey", "pubkey2", "ecdsakey", "eddsakey", "espenckey", "espauthkey", "ahkey"}

// public reports whether a key parameter holds public keys.
func public(name string) bool {
	return strings.HasSuffix(strings.TrimSuffix(name, "2"), "sigkey") || strings.HasSuffix(strings.TrimSuffix(name, "2"), "pubkey") || strings.HasSuffix(name, "ecdsakey") || strings.HasSuffix(name, "eddsakey")
}

// shortestKey is how long key data is, in characters, that we take for a key
// wherever it stands: 0x and eight octets. SPIs and marks are shorter.
const shortestKey = 18

// keyLike reports whether a value has the form of a key (freeswan.md 2.6). A
// parameter whose name is misspelt holds a key all the same.
func keyLike(value string) bool {
	return len(value) >= shortestKey && value[0] == '0' && strings.IndexByte("xXsStT", value[1]) >= 0
}

// Value censors the value of one ipsec.conf parameter.
func (c Censor) Value(name, value string) string {
	n := fold(name)
	n = strings.TrimPrefix(strings.TrimPrefix(n, "left"), "right")
	if value == "" || strings.HasPrefix(value, "%") || !slices.Contains(keyNames, n) && !keyLike(value) {
		return value
	}
	if digits, ok := strings.CutPrefix(value, "0s"); ok && public(n) {
		return fmt.Sprintf("[keyid %s]", digits[:min(9, len(digits))])
	}
	return c.sum(value)
}

// Conf censors ipsec.conf text.
func (c Censor) Conf(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		body := strings.TrimLeft(line, " \t")
		name, rest, found := strings.Cut(body, "=")
		trimmed := strings.TrimRight(name, " \t#")
		trimmed = strings.TrimLeft(trimmed, "# \t") // a key in a comment is a key
		value := strings.TrimSpace(rest)
		bare := strings.Trim(strings.TrimSpace(stripTrail(value)), `"`)
		if censored := c.Value(trimmed, bare); found && censored != bare {
			line = line[:len(line)-len(body)] + name + "=" + censored + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// Secrets censors ipsec.secrets text. What cannot be read is left out whole, so
// that nothing depends on how the secret was mistyped.
func (c Censor) Secrets(name, text string) string {
	s := ParseSecrets(MapFS{Files: map[string]string{name: text}}, name, SecretsOptions{AllowExamples: true})
	var b strings.Builder
	for _, e := range s.Entries {
		b.WriteString(e.label())
		if e.Kind == SecretPSK {
			fmt.Fprintf(&b, ": PSK %s\n", c.sum(string(e.PSK.Bytes())))
			continue
		}
		if e.Kind == SecretPPK {
			fmt.Fprintf(&b, "%s: PPKS %q %s\n", e.label(), e.PPKID, c.sum(string(e.PPK.Bytes())))
			continue
		}
		if e.Kind == SecretEAP {
			fmt.Fprintf(&b, "%s : EAP %s\n", strings.Join(e.Users, " "), c.sum(string(e.Password.Bytes())))
			continue
		}
		b.WriteString(": " + privateLabel(e.Private.Signer().Public()) + "\t{ [...] }\n")
	}
	for _, p := range append(s.Errors, s.Warnings...) {
		fmt.Fprintf(&b, "# %v\n", p)
	}
	return b.String()
}

// label is the index of an entry.
func (e Secret) label() string {
	var b strings.Builder
	for _, i := range e.Index {
		switch {
		case i.Any:
			b.WriteString("%any ")
		case i.Name != "":
			b.WriteString(i.Name + " ")
		default:
			text := i.ID.String()
			if strings.Contains(text, " ") {
				text = `"` + text + `"`
			}
			b.WriteString(text + " ")
		}
	}
	return b.String()
}

// Expand returns the text of a configuration with its includes in place, each
// after a comment that names the file, and the problems of reading it.
func Expand(fsys FS, name string) (string, []Problem) {
	var b strings.Builder
	last := ""
	r := &reader{fsys: fsys, infos: make(map[string]Info)}
	r.copy = func(at Pos, line string) {
		if at.File != last {
			fmt.Fprintf(&b, "#< %s %d\n", at.File, at.Line)
			last = at.File
		}
		b.WriteString(line + "\n")
	}
	r.readAll(name)
	return b.String(), append(r.fatal, r.warnings...)
}

func privateLabel(pub crypto.PublicKey) string {
	if rsaBits(Key{Public: pub}) > 0 {
		return "RSA"
	}
	return "PKCS8"
}
