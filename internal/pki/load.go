package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/rawkey"
)

// Options say how files are read.
type Options struct {
	// Named are the values of leftcert= and rightcert=. A name without a path
	// is one of certs/, which is read anyway; others are read in addition.
	Named []string
	// Authorities are those of ca sections.
	Authorities []Authority
	// Warn: a key file that others may read is only a warning
	// (secretsperm=warn).
	Warn bool
}

// Load reads cacerts/, certs/, crls/ and private/ below dir (ipsec.d), PEM or
// DER. What cannot be used is left out and told as a problem; the rest counts.
// now is only for problems about validity: whether it counts is decided when a
// certificate is used.
func Load(fsys config.FS, dir string, now time.Time, opts Options) (*Store, []config.Problem) {
	l := &loader{fsys: fsys, now: now, opts: opts, store: &Store{ends: map[string]*x509.Certificate{}, crls: map[string][]*crl{}}}
	l.each(path.Join(dir, "cacerts"), func(file string) { l.authorities(file) })
	l.sections(path.Join(dir, "cacerts"))
	l.store.arrange()
	certs := path.Join(dir, "certs")
	l.each(certs, func(file string) { l.ends(file, path.Base(file)) })
	for _, name := range opts.Named {
		switch {
		case l.store.ends[name] != nil || name == "":
		case path.IsAbs(name):
			l.ends(path.Clean(name), name)
		default:
			l.ends(path.Join(certs, name), name)
		}
	}
	for name := range l.store.ends {
		l.store.names = append(l.store.names, name)
	}
	sort.Strings(l.store.names)
	l.each(path.Join(dir, "crls"), l.revocations)
	l.each(path.Join(dir, "private"), l.key)
	return l.store, l.problems
}

type loader struct {
	fsys     config.FS
	now      time.Time
	opts     Options
	store    *Store
	problems []config.Problem
	asked    map[string]bool // files that were tried
}

func (l *loader) problem(file, mend, format string, args ...any) {
	l.problems = append(l.problems, config.Problem{File: file, Text: fmt.Sprintf(format, args...), Mend: mend})
}

// each calls load with the files of a directory, in the order of their names.
// Hidden files and those that an editor left behind are not meant.
func (l *loader) each(dir string, load func(file string)) {
	names, err := l.fsys.Glob(escapeGlob(dir) + "/*")
	if err != nil {
		l.problem(dir, "", "cannot be listed: %v", err)
		return
	}
	if len(names) > maxFiles {
		l.problem(dir, "", "has more than %d files; the rest is not read", maxFiles)
		names = names[:maxFiles]
	}
	for _, name := range names {
		if base := path.Base(name); !strings.HasPrefix(base, ".") && !strings.HasSuffix(base, "~") {
			load(name)
		}
	}
}

// escapeGlob makes a pattern of a name, which only stands for itself.
func escapeGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// read returns the content of a file that decides whom we trust: nobody else
// may have a way to change it.
func (l *loader) read(file string, limit int) ([]byte, bool) {
	data, info, err := l.fsys.Read(file, limit)
	switch {
	case err != nil:
		l.problem(file, "", "is not used: %s", reason(err))
	case !info.Trusted:
		l.problem(file, "chown root "+file, "is not used: it belongs to user %d, not to root", info.UID)
	case info.Mode&0o022 != 0:
		l.problem(file, "chmod go-w "+file, "is not used: it has mode %04o, so that others may write to it", info.Mode.Perm())
	case info.LooseDir != "":
		l.problem(file, "chmod go-w "+info.LooseDir, "is not used: others may write to directory %s", info.LooseDir)
	default:
		return data, true
	}
	return nil, false
}

func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "no such file"
	}
	return err.Error()
}

// blocks returns the DER in a file: every PEM block of that type, or, without
// any PEM in it, the file itself.
func blocks(data []byte, kind string) [][]byte {
	if !bytes.Contains(data, []byte("-----BEGIN ")) {
		return [][]byte{data}
	}
	var out [][]byte
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return out
		}
		if b.Type == kind {
			out = append(out, b.Bytes)
		}
	}
}

const (
	pemCertificate = "CERTIFICATE"
	pemCRL         = "X509 CRL"
)

// certificates reads the certificates of a file.
func (l *loader) certificates(file string) []*x509.Certificate {
	data, ok := l.read(file, maxFile)
	if !ok {
		return nil
	}
	found := blocks(data, pemCertificate)
	if len(found) == 0 {
		l.problem(file, "", "has no certificate in it")
	}
	var list []*x509.Certificate
	for _, der := range found {
		c, err := parse(der)
		if err == nil {
			err = checkExtensions(c).of(nameOf(c.RawSubject))
		}
		if err != nil {
			l.problem(file, "", "%v; it is not used", err)
			continue
		}
		if e := checkTime(c, l.now); e != nil {
			l.problem(file, "", "%v", e.of(nameOf(c.RawSubject)))
		}
		list = append(list, c)
	}
	return list
}

// sections reads the files that ca sections name; one of cacerts/ is known
// already.
func (l *loader) sections(dir string) {
	for _, a := range l.opts.Authorities {
		file := a.File
		if !path.IsAbs(file) {
			file = path.Join(dir, file)
		}
		l.store.publish(a, l.authorities(file))
	}
}

// authorities reads CA certificates and returns those that are in force.
func (l *loader) authorities(file string) []*x509.Certificate {
	var list []*x509.Certificate
	for _, c := range l.certificates(file) {
		switch e := checkConstraints(c); {
		case contains(l.store.cas, c):
			list = append(list, c)
		case !isCA(c) || !maySign(c, x509.KeyUsageCertSign):
			l.problem(file, "certificates of peers belong in certs", "certificate of '%s' is no CA's and is not used", nameOf(c.RawSubject))
		case e != nil:
			l.problem(file, "", "%v; it is not used", e.of(nameOf(c.RawSubject)))
		default:
			l.store.cas = append(l.store.cas, c)
			list = append(list, c)
		}
	}
	return list
}

// ends reads a file of certs/: one end entity, and the CA certificates between
// it and its root, if they are there too.
func (l *loader) ends(file, name string) {
	if l.asked[file] && name == path.Base(file) {
		return
	}
	for _, c := range l.certificates(file) {
		switch {
		case isCA(c):
			if checkConstraints(c) == nil && !contains(l.store.middle, c) && !contains(l.store.cas, c) {
				l.store.middle = append(l.store.middle, c)
			}
		case l.store.ends[name] != nil:
			l.problem(file, "one file each", "has more than one end entity's certificate; '%s' is not used", nameOf(c.RawSubject))
		default:
			l.store.ends[name] = c
		}
	}
	if l.asked == nil {
		l.asked = map[string]bool{}
	}
	l.asked[file] = true
}

func (l *loader) revocations(file string) {
	data, ok := l.read(file, maxCRL)
	if !ok {
		return
	}
	found := blocks(data, pemCRL)
	if len(found) == 0 {
		l.problem(file, "", "has no CRL in it")
	}
	for _, der := range found {
		c, err := parseCRL(der)
		if err != nil {
			l.problem(file, "", "%v; it is not used", err)
			continue
		}
		if next := c.list.NextUpdate; !next.IsZero() && l.now.After(next) {
			l.problem(file, "", "the CRL of '%s' expired at %s", nameOf(c.list.RawIssuer), stamp(next))
		}
		l.store.addCRL(c)
	}
}

func (l *loader) key(file string) {
	data, info, err := l.fsys.Read(file, maxKeyFile)
	if err != nil {
		l.problem(file, "", "is not used: %s", reason(err))
		return
	}
	if why, mend := info.Unsafe(file); why != "" {
		if !l.opts.Warn {
			l.problem(file, mend, "key file is not used: it %s", why)
			return
		}
		l.problem(file, mend, "key file %s", why)
	}
	key, err := rawkey.ParsePrivate(data)
	switch {
	case errors.Is(err, rawkey.ErrEncrypted):
		l.problem(file, "decrypt it, as with openssl pkey", "key file is not used: %v", err)
	case err != nil:
		l.problem(file, "", "key file is not used: %v", err)
	case !slices.ContainsFunc(l.store.private, func(k config.PrivateKey) bool { return rawkey.Equal(k.Signer().Public(), key.Public()) }):
		l.store.private = append(l.store.private, config.NewPrivateKey(key))
	}
}
