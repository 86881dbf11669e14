package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cygnet/internal/authority"
	"cygnet/internal/rawkey"
	"cygnet/internal/whack"
)

// Files of an authority, in its directory.
const (
	caCertFile    = "ca.pem"
	caKeyFile     = "ca.key"
	caRevokedFile = "revoked" // serial number and time of each
)

// PEM types, RFC 7468.
const (
	pemCert    = "CERTIFICATE"
	pemRequest = "CERTIFICATE REQUEST"
	pemList    = "X509 CRL"
)

// printCRL prints the list of revoked certificates, signed anew.
func printCRL(w io.Writer, a *authority.Authority, dir string, days int) error {
	list, err := revoked(filepath.Join(dir, caRevokedFile))
	if err != nil {
		return err
	}
	der, err := a.CRL(list, time.Now(), days)
	if err != nil {
		return err
	}
	_, err = w.Write(encode(pemList, der))
	return err
}

// noteRevoked adds a certificate to the list of revoked ones.
func noteRevoked(dir string, serial *big.Int, at time.Time) error {
	f, err := os.OpenFile(filepath.Join(dir, caRevokedFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%x %s\n", serial, at.UTC().Format(time.RFC3339))
	return errors.Join(err, f.Sync(), f.Close())
}

// revoked reads the list of revoked certificates; a certificate that stands
// there twice counts from the first time.
func revoked(path string) ([]authority.Revoked, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []authority.Revoked
	seen := map[string]bool{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		hex, when, _ := strings.Cut(lines.Text(), " ")
		serial, ok := new(big.Int).SetString(hex, 16)
		since, err := time.Parse(time.RFC3339, when)
		if !ok || err != nil {
			return nil, fail(whack.ExitConfig, "%s:%d: not a serial number and a time", path, n)
		}
		if !seen[serial.String()] {
			seen[serial.String()] = true
			list = append(list, authority.Revoked{Serial: serial, Since: since})
		}
	}
	return list, lines.Err()
}

// openCA reads the authority in a directory.
func openCA(dir string) (*authority.Authority, error) {
	text, err := os.ReadFile(filepath.Join(dir, caCertFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail(whack.ExitFailed, "there is no authority in %s; make one with `ipsec ca init', or name its directory with --dir", dir)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fail(whack.ExitFailed, "%s holds no certificate", filepath.Join(dir, caCertFile))
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fail(whack.ExitFailed, "%s: %w", filepath.Join(dir, caCertFile), err)
	}
	text, err = os.ReadFile(filepath.Join(dir, caKeyFile))
	if err != nil {
		return nil, err
	}
	key, err := rawkey.ParsePrivate(text)
	if err != nil {
		return nil, fail(whack.ExitFailed, "%s: %w", filepath.Join(dir, caKeyFile), err)
	}
	a, err := authority.Read(rand.Reader, cert, key)
	if err != nil {
		return nil, fail(whack.ExitFailed, "authority in %s: %w", dir, err)
	}
	return a, nil
}

// maxPEM is longer than any request or certificate.
const maxPEM = 256 << 10

// readPEM reads the first block of a type from a file, or from in.
func readPEM(in io.Reader, args []string, kind string) ([]byte, error) {
	from := "standard input"
	if len(args) == 1 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in, from = f, args[0]
	}
	data, err := io.ReadAll(io.LimitReader(in, maxPEM))
	if err != nil {
		return nil, err
	}
	for rest := bytes.TrimSpace(data); len(rest) > 0; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type == kind {
			return b.Bytes, nil
		}
	}
	return nil, fail(whack.ExitFailed, "%s holds no %s in PEM", from, strings.ToLower(kind))
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// writeNew writes a file that only its owner may read and that was not there.
func writeNew(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fail(whack.ExitFailed, "%s exists already; move it away if it is of no use any more", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
