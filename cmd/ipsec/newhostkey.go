package main

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/rawkey"
	"cygnet/internal/whack"
)

func newNewhostkey() *cobra.Command {
	order := keyOrder{exponent: 65537}
	var output, host string
	var quiet, verbose bool
	c := &cobra.Command{
		Use:   "newhostkey [--output FILE] [--bits N] [--keytype rsa|ecdsa|ed25519]",
		Short: "Make this host's private key and enter it in ipsec.secrets",
		Long: `newhostkey makes a key pair and writes the private half as an entry of
ipsec.secrets, readable by its owner only. The public half is shown by
` + "`ipsec showhostkey'" + `. RSA keys are written in FreeS/WAN's form; keys of other
kinds go into a file below ipsec.d/private, which the entry names.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := order.check(); err != nil {
				return fail(whack.ExitFailed, "%w", err)
			}
			path := output
			if path == "" {
				path = where().secrets()
				if _, err := os.Stat(path); err == nil {
					return fail(whack.ExitFailed, "%s exists; name it with --output to add a key to it", path)
				}
			}
			if !quiet || verbose {
				fmt.Fprintf(cmd.ErrOrStderr(), "making %s key...\n", describeOrder(order))
			}
			key, err := order.generate()
			if err != nil {
				return err
			}
			entry, err := secretsEntry(key, host)
			if err != nil {
				return err
			}
			if path == "-" {
				_, err := cmd.OutOrStdout().Write(entry)
				return err
			}
			return appendSecret(path, entry, cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&output, "output", "", "file to add the entry to; - for standard output (default: a new ipsec.secrets)")
	f.IntVar(&order.bits, "bits", defaultBits, "size of an RSA key")
	f.StringVar(&order.kind, "keytype", "rsa", "rsa, ecdsa (P-256) or ed25519")
	f.IntVar(&order.exponent, "e", 65537, "public exponent of an RSA key: 3 or 65537")
	f.BoolVar(&order.allowWeak, "allow-weak", false, "allow fewer than 2048 bits")
	f.StringVar(&host, "hostname", "", "host name for the comment; default: this host's")
	f.BoolVar(&quiet, "quiet", false, "say nothing")
	f.BoolVar(&verbose, "verbose", false, "say what is going on")
	return c
}

func describeOrder(o keyOrder) string {
	if o.kind == "rsa" {
		return fmt.Sprintf("an RSA %d-bit", o.bits)
	}
	return "an " + o.kind
}

// secretsEntry is the text that enters key in ipsec.secrets. A key that is not
// RSA is written into a file of its own first.
func secretsEntry(key crypto.Signer, host string) ([]byte, error) {
	if k, ok := key.(*rsa.PrivateKey); ok {
		var b bytes.Buffer
		err := rawkey.Block{Key: k, Comment: keyComment(host, time.Now())}.WriteEntry(&b, "")
		return b.Bytes(), err
	}
	pem, err := rawkey.FormatPrivate(key)
	if err != nil {
		return nil, err
	}
	name := cmp.Or(host, "hostkey") + ".pem"
	path := filepath.Join(where().conf, "ipsec.d", "private", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s exists; move it away, or name another with --hostname", path)
	}
	if err != nil {
		return nil, err
	}
	_, err = f.Write(pem)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, ": PKCS8 %s\n", name), nil
}

// appendSecret adds an entry to a file that nobody else may read, not for a
// moment. What the file held stays.
func appendSecret(path string, entry []byte, diag io.Writer) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s can be read by others (mode %04o); chmod 600 it first", path, info.Mode().Perm())
	}
	if info.Size() > 0 {
		fmt.Fprintf(diag, "newhostkey: warning: %s is not empty, the key is added to it; only one key may stand without a name before its colon\n", path)
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			entry = append([]byte("\n"), entry...)
		}
	}
	if _, err := f.Write(entry); err != nil {
		return err
	}
	return f.Sync()
}
