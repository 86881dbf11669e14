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
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/ike"
	"cygnet/internal/rawkey"
	"cygnet/internal/whack"
)

func newNewhostkey() *cobra.Command {
	order := keyOrder{exponent: 65537}
	var output, host, id string
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
			if _, err := ike.ParseID(id); id != "" && err != nil {
				return fail(whack.ExitUsage, "--id: %w", err)
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
			entry, err := secretsEntry(where().conf, key, host, id)
			if err != nil {
				return err
			}
			if path == "-" {
				_, err := cmd.OutOrStdout().Write(entry)
				return err
			}
			return appendSecret(path, entry, quiet, cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&output, "output", "", "file to add the entry to; - for standard output (default: a new ipsec.secrets)")
	f.IntVar(&order.bits, "bits", defaultBits, "size of an RSA key")
	f.StringVar(&order.kind, "keytype", "rsa", "rsa, which all peers and all records know, ecdsa (P-256) or ed25519")
	f.StringVar(&order.kind, "type", "rsa", "the same")
	f.StringVar(&id, "id", "", "identity that the key belongs to, before the colon (default: any)")
	f.String("random", "", "accepted for old scripts: the kernel's random numbers are used")
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

// secretsEntry is the text that enters key in the ipsec.secrets of a directory. A
// key that is not RSA is written into a file of its own first.
func secretsEntry(conf string, key crypto.Signer, host, id string) ([]byte, error) {
	if k, ok := key.(*rsa.PrivateKey); ok {
		var b bytes.Buffer
		err := rawkey.Block{Key: k, Comment: keyComment(host, time.Now())}.WriteEntry(&b, id)
		return b.Bytes(), err
	}
	pem, err := rawkey.FormatPrivate(key)
	if err != nil {
		return nil, err
	}
	name := cmp.Or(host, "hostkey") + ".pem"
	path := filepath.Join(conf, "ipsec.d", "private", name)
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
	return fmt.Appendf(nil, "%s\n", strings.TrimLeft(id+" : PKCS8 "+name, " ")), nil
}

// appendSecret adds an entry to a file that nobody else may read, not for a
// moment. What the file held stays: the new file takes its place in one step, so
// that a crash leaves the old one or the new one, never a part.
func appendSecret(path string, entry []byte, quiet bool, diag io.Writer) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return replaceSecret(path, entry, nil)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(entry)
		return errors.Join(err, f.Close())
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s can be read by others (mode %04o); chmod 600 it first", path, info.Mode().Perm())
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(old) > 0 && !quiet {
		fmt.Fprintf(diag, "newhostkey: warning: file `%s' exists, appending to it; only one key may stand without a name before its colon\n", path)
	}
	if len(old) > 0 && old[len(old)-1] != '\n' {
		old = append(old, '\n')
	}
	return replaceSecret(path, append(old, entry...), info)
}

// replaceSecret writes a file beside path and renames it. The owner is that of
// the file before, whose info old is.
func replaceSecret(path string, content []byte, old fs.FileInfo) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already if all went well
	if old != nil {
		if st, ok := old.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Getuid() {
			err = f.Chown(int(st.Uid), int(st.Gid))
		}
	}
	if err == nil {
		_, err = f.Write(content)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
