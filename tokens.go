package cygnet

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"cygnet/internal/ikev2"
	"cygnet/internal/ipsec"
)

// The secret of crash detection, RFC 6290, is a file of StateDir: 32 random
// octets that the next daemon must know as well.
const (
	tokenFile      = "crash.secret"
	tokenSecretLen = 32
)

// openTokens reads the secret, and makes it the first time.
func openTokens(o Options) func() (ikev2.TokenSecret, error) {
	if o.StateDir == "" {
		return nil
	}
	name := filepath.Join(o.StateDir, tokenFile)
	return func() (ikev2.TokenSecret, error) {
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) != tokenSecretLen {
			b, err = newTokenSecret(name)
		}
		if err != nil {
			return ikev2.TokenSecret{}, fmt.Errorf("secret of crash detection: %w", err)
		}
		return ikev2.NewTokenSecret(ipsec.NewSecret(b))
	}
}

// newTokenSecret writes a new one, whole or not at all.
func newTokenSecret(name string) ([]byte, error) {
	b := make([]byte, tokenSecretLen)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), tokenFile+".*") // only we may read it
	if err != nil {
		return nil, err
	}
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(tmp.Name()))
	}
	return b, nil
}
