package config

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strings"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/rawkey"
)

// SecretsOptions say how secrets are read.
type SecretsOptions struct {
	PrivateDir string // where key files without a path are
	Warn       bool   // loose permissions are only a warning (secretsperm=warn)
	// AllowExamples accepts the published example secrets.
	AllowExamples bool
}

// ParseSecrets reads ipsec.secrets and what it includes, freeswan.md 3.1. A
// record in error is left out, and the others are read. No error text contains
// any part of a secret.
func ParseSecrets(fsys FS, name string, opts SecretsOptions) *Secrets {
	r := &secretsReader{fsys: fsys, opts: opts, out: &Secrets{}}
	if _, _, err := fsys.Read(name, maxSecretsSize); errors.Is(err, fs.ErrNotExist) {
		r.warn(Pos{File: name}, fmt.Sprintf("no secrets filename matched %q", name), "")
		return r.out
	}
	r.file(name, Pos{File: name}, 0)
	return r.out
}

type secretsReader struct {
	fsys FS
	opts SecretsOptions
	out  *Secrets
}

func (r *secretsReader) fail(at Pos, text, mend string) { r.failOf("", at, text, mend) }

func (r *secretsReader) warn(at Pos, text, mend string) { r.warnOf("", at, text, mend) }

// failOf and warnOf are about what a rule of `ipsec check` is about too.
func (r *secretsReader) failOf(rule string, at Pos, text, mend string) {
	r.out.Errors = append(r.out.Errors, *problemAt(at, "", text, mend).ofRule(rule))
}

func (r *secretsReader) warnOf(rule string, at Pos, text, mend string) {
	r.out.Warnings = append(r.out.Warnings, *problemAt(at, "", text, mend).ofRule(rule))
}

// read opens a file that must be safe to hold secrets (R8.1).
func (r *secretsReader) read(name string, from Pos, limit int) ([]byte, bool) {
	data, info, err := r.fsys.Read(name, limit)
	if err != nil {
		r.fail(from, fmt.Sprintf("cannot read %q: %s", name, reason(err)), "")
		return nil, false
	}
	if why, mend := info.Unsafe(name); why != "" {
		if !r.opts.Warn {
			r.failOf("FW007", Pos{File: name}, "secrets file is not used: it "+why, mend)
			return nil, false
		}
		r.warnOf("FW007", Pos{File: name}, "secrets file "+why, mend)
	}
	return data, true
}

// file reads the records of one file.
func (r *secretsReader) file(name string, from Pos, depth int) {
	if len(r.out.Files) >= maxFiles {
		r.fail(from, fmt.Sprintf("more than %d files", maxFiles), "")
		return
	}
	data, ok := r.read(name, from, maxSecretsSize)
	if !ok {
		return
	}
	r.out.Files = append(r.out.Files, name)
	var rec *record
	flush := func() {
		if rec != nil {
			r.record(rec)
		}
		rec = nil
	}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		at := Pos{name, number}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		body := strings.TrimLeft(line, " \t")
		switch {
		case strings.TrimRight(body, " \t") == "":
		case len(body) < len(line): // indented: comments too, for the RSA block has some that count
			if rec != nil {
				rec.lines = append(rec.lines, recordLine{at, line})
			} else if body[0] != '#' {
				r.fail(at, "file starts with indentation (continuation notation)", "a record begins in column 1")
			}
		case body[0] == '#':
		case isInclude(line):
			flush()
			r.include(at, line, depth+1)
		default:
			flush()
			rec = &record{at: at, lines: []recordLine{{at, line}}}
		}
	}
	flush()
}

func isInclude(line string) bool {
	fields := strings.Fields(line)
	return len(fields) > 0 && fields[0] == "include"
}

func (r *secretsReader) include(at Pos, line string, depth int) {
	fields := strings.Fields(stripTrail(line))
	if len(fields) != 2 {
		r.fail(at, "include needs one file name", "")
		return
	}
	if depth > maxDepth {
		r.fail(at, fmt.Sprintf("includes are nested deeper than %d", maxDepth), "does a file include itself?")
		return
	}
	target := relativeTo(at.File, fields[1])
	names, err := r.fsys.Glob(target)
	if err != nil || len(names) == 0 {
		r.warn(at, fmt.Sprintf("no secrets filename matched %q", target), "")
		return
	}
	for _, name := range names {
		r.file(name, at, depth)
	}
}

// record reads one record into an entry, or reports why not.
func (r *secretsReader) record(rec *record) {
	index, rest, problem := rec.split()
	if problem != nil {
		r.fail(problem.at, problem.Error(), "")
		return
	}
	entry := Secret{Where: rec.at}
	bad := 0
	for _, t := range index {
		i, err := parseIndex(t)
		if err != nil {
			bad++
			r.fail(t.at, "index: "+err.Error(), "")
			continue
		}
		entry.Index = append(entry.Index, i)
	}
	if bad > 0 && len(entry.Index) == 0 {
		return // without any index it would serve everybody
	}
	if r.key(&entry, rest) {
		r.out.Entries = append(r.out.Entries, entry)
	}
}

// parseIndex reads one identity. A quoted one may be a misplaced secret, so
// that its error does not show it.
func parseIndex(t token) (Index, error) {
	if t.block {
		return Index{}, errors.New("braces are no identity")
	}
	if t.quoted {
		id, err := ike.ParseID(t.text)
		if err != nil {
			err = errors.New("what stands in quotes is no identity")
		}
		return Index{ID: id, Any: err == nil && id.IsZero()}, err
	}
	if a, err := ParseAddress(t.text); err == nil {
		if a.IsUnspecified() {
			return Index{Any: true}, nil
		}
		return Index{ID: ike.IDOfAddr(a)}, nil
	}
	id, err := ike.ParseID(t.text)
	var host *ike.HostNameError
	switch {
	case t.text[0] == ':':
		return Index{}, errors.New("the colon must be followed by a blank")
	case errors.As(err, &host):
		return Index{Name: host.Name}, nil
	case err != nil:
		return Index{}, err
	case id.IsZero():
		return Index{Any: true}, nil
	}
	return Index{ID: id}, nil
}

// key reads what stands after the colon.
func (r *secretsReader) key(entry *Secret, tokens []token) bool {
	first := tokens[0]
	word := strings.ToUpper(first.text)
	switch {
	case first.quoted || rawkey.IsData(first.text):
		return r.psk(entry, tokens)
	case word == "PSK":
		return r.psk(entry, tokens[1:])
	case word == "RSA" && len(tokens) > 1 && tokens[1].block:
		return r.block(entry, tokens[1:])
	case word == "RSA", word == "ECDSA", word == "PKCS8", word == "PUBKEY", word == "ED25519":
		return r.keyFile(entry, first, tokens[1:])
	case word == "PIN":
		r.fail(first.at, "keys on smart cards are not used", "put the private key into a file of ipsec.d/private")
		return false
	case word == "EAP":
		return r.eap(entry, tokens[1:])
	case word == "PPKS":
		return r.ppk(entry, tokens[1:])
	case word == "XAUTH", word == "NTLM", word == "P12", word == "PPK", word == "BLISS":
		r.warn(first.at, fmt.Sprintf("secrets of kind %s are not used", word), "")
		return false
	}
	r.fail(first.at, "unrecognized key format", `write PSK "…", RSA { … } or RSA FILE after the colon`)
	return false
}

func (r *secretsReader) psk(entry *Secret, tokens []token) bool {
	if len(tokens) == 0 {
		r.fail(entry.Where, "PSK without a secret", "")
		return false
	}
	t := tokens[0]
	var b []byte
	switch {
	case t.quoted:
		b = []byte(t.text)
		tokens = tokens[1:]
	case rawkey.IsData(t.text):
		text := t.text
		if literal := t.text[1] | 0x20; literal == 's' || literal == 't' { // blanks belong to 0t, and mean nothing in 0s
			if literal == 't' {
				text = t.toEnd
			} else {
				for _, u := range tokens[1:] {
					text += u.text
				}
			}
			tokens = nil
		} else {
			tokens = tokens[1:]
		}
		var err error
		if b, err = rawkey.Data(text); err != nil {
			r.fail(t.at, "PSK: "+err.Error(), "")
			return false
		}
	default:
		r.fail(t.at, "PSK is neither in quotes nor 0x, 0s or 0t data", `write : PSK "the secret"`)
		return false
	}
	if len(tokens) > 0 {
		r.fail(tokens[0].at, "unexpected text after the secret", "a secret cannot contain its own quote")
		return false
	}
	return r.acceptPSK(entry, b, t.quoted)
}

// acceptPSK judges the secret. What was written as data is taken for random
// octets, of which 16 are 128 bits; what a person wrote is not.
func (r *secretsReader) acceptPSK(entry *Secret, b []byte, written bool) bool {
	switch {
	case len(b) == 0:
		r.fail(entry.Where, "the secret is empty", "")
		return false
	case len(b) > maxPSK:
		r.fail(entry.Where, fmt.Sprintf("the secret is longer than %d octets", maxPSK), "")
		return false
	case isExample(b) && !r.opts.AllowExamples:
		r.failOf("FW006", entry.Where, "this is an example secret of a manual, which everybody knows", "make one with ipsec ranbits 256")
		return false
	case len(b) < 16 || written && (len(b) < 20 || Entropy(b) < 64):
		r.warnOf("FW009", entry.Where, "the secret is short or easily guessed", "make one with ipsec ranbits 256")
	}
	entry.Kind, entry.PSK = SecretPSK, ipsec.NewSecret(b)
	return true
}

// Entropy is a rough upper bound in bits of what a guesser must try: by the
// frequencies of the octets in it.
func Entropy(b []byte) float64 {
	var count [256]int
	for _, c := range b {
		count[c]++
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			bits += float64(n) * math.Log2(float64(len(b))/float64(n))
		}
	}
	return bits
}

func (r *secretsReader) block(entry *Secret, tokens []token) bool {
	t := tokens[0]
	if len(tokens) > 1 {
		r.fail(tokens[1].at, "unexpected text after the }", "")
		return false
	}
	b, err := rawkey.ParseBlock(t.text)
	if err != nil {
		r.fail(t.at, err.Error(), "")
		return false
	}
	entry.Kind, entry.Private, entry.Comment = SecretPrivate, NewPrivateKey(b.Key), b.Comment
	r.checkLength(entry)
	return true
}

// keyFile reads a private key file that a record names, as in RSA host.pem.
func (r *secretsReader) keyFile(entry *Secret, kind token, tokens []token) bool {
	if len(tokens) == 0 {
		r.fail(kind.at, fmt.Sprintf("%s without a key", strings.ToUpper(kind.text)), "write { … } or a file name")
		return false
	}
	var passphrase []byte
	switch {
	case len(tokens) == 2 && tokens[1].text == "%prompt":
		r.fail(tokens[1].at, "nobody is there to be asked for a passphrase", "write it in quotes after the file name")
		return false
	case len(tokens) > 2 || len(tokens) == 2 && tokens[1].block:
		r.fail(tokens[len(tokens)-1].at, "unexpected text after the key file", `a passphrase stands in quotes: : RSA key.pem "the passphrase"`)
		return false
	case len(tokens) == 2:
		passphrase = []byte(tokens[1].text)
	}
	name := tokens[0].text
	if !path.IsAbs(name) {
		name = path.Join(r.opts.PrivateDir, name)
	}
	data, ok := r.read(name, tokens[0].at, maxKeySize)
	if !ok {
		return false
	}
	read := rawkey.ParsePrivate
	if passphrase != nil {
		read = func(data []byte) (crypto.Signer, error) { return rawkey.ParsePrivateWith(data, passphrase) }
	}
	key, err := read(data)
	if err != nil {
		mend := ""
		switch {
		case errors.Is(err, rawkey.ErrEncrypted):
			mend = "write the passphrase in quotes after the file name"
		case errors.Is(err, rawkey.ErrOldCipher):
			mend = "rewrite it with openssl pkcs8 -topk8 -v2 aes-256-cbc"
		}
		r.fail(tokens[0].at, fmt.Sprintf("key file %q: %v", name, err), mend)
		return false
	}
	entry.Kind, entry.Private = SecretPrivate, NewPrivateKey(key)
	r.checkLength(entry)
	return true
}

func (r *secretsReader) checkLength(entry *Secret) {
	pub := entry.Private.Signer().Public()
	if n := rsaBits(Key{Public: pub}); n > 0 && n < weakRSA {
		r.warnOf("FW101", entry.Where, fmt.Sprintf("RSA key %s of %d bits is shorter than %d", rawkey.KeyID(pub), n, weakRSA), "make a longer one with ipsec newhostkey")
	}
}
