package main

import (
	"cmp"
	"crypto"
	"crypto/rsa"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/rawkey"
	"cygnet/internal/whack"
)

func newShowhostkey() *cobra.Command {
	var left, right, key, asJSON bool
	var txt, file, id string
	c := &cobra.Command{
		Use:   "showhostkey --left | --right | --key | --txt GATEWAY [--id ID] [--file FILE]",
		Short: "Show the public half of this host's key, ready to paste",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			forms := 0
			for _, on := range []bool{left, right, key, txt != "", asJSON} {
				if on {
					forms++
				}
			}
			if forms != 1 {
				return fail(whack.ExitUsage, "exactly one of --left, --right, --key, --txt and --json is needed")
			}
			own, err := findHostKey(cmp.Or(file, where().secrets()), id)
			if err != nil {
				return fail(whack.ExitFailed, "%w", err)
			}
			out := cmd.OutOrStdout()
			switch {
			case txt != "":
				return own.printTXT(out, txt)
			case key:
				return own.printKEY(out)
			case asJSON:
				return own.printJSON(out)
			}
			return own.printConf(out, map[bool]string{true: "left", false: "right"}[left])
		},
	}
	f := c.Flags()
	f.BoolVar(&left, "left", false, "as leftrsasigkey= (or leftpubkey=) for ipsec.conf")
	f.BoolVar(&right, "right", false, "as rightrsasigkey= (or rightpubkey=) for ipsec.conf")
	f.BoolVar(&key, "key", false, "as a KEY record (obsolete)")
	f.StringVar(&txt, "txt", "", "as a TXT record that names this gateway: an address, or @ and a domain name")
	f.StringVar(&file, "file", "", "look into this file instead of ipsec.secrets")
	f.StringVar(&id, "id", "", "the key that has this identity before its colon")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// hostKey is the public half of one entry of ipsec.secrets.
type hostKey struct {
	public  crypto.PublicKey
	comment string // host and date, where the entry has them
}

// findHostKey finds the entry without index, or the one that has index id.
func findHostKey(file, id string) (hostKey, error) {
	secrets := config.ParseSecrets(config.OS{}, file, config.SecretsOptions{
		PrivateDir: filepath.Join(where().conf, "ipsec.d", "private"),
	})
	var found []hostKey
	for _, e := range secrets.Entries {
		if e.Kind != config.SecretPrivate {
			continue
		}
		match, err := indexed(e, id)
		if err != nil {
			return hostKey{}, err
		}
		if match {
			found = append(found, hostKey{e.Private.Signer().Public(), e.Comment})
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return hostKey{}, fmt.Errorf("multiple default keys found!?! (in %q)", file)
	case len(secrets.Errors) > 0:
		return hostKey{}, secrets.Errors[0]
	case id != "":
		return hostKey{}, fmt.Errorf("no %q key in %q", id, file)
	}
	return hostKey{}, fmt.Errorf("no default key in %q", file)
}

func indexed(e config.Secret, id string) (bool, error) {
	if id == "" {
		return len(e.Index) == 0, nil
	}
	want, err := ike.ParseID(id)
	if err != nil {
		return false, err
	}
	for _, x := range e.Index {
		if x.ID.Equal(want) {
			return true, nil
		}
	}
	return false, nil
}

// about is the comment line's text: kind, size, host and date.
func (k hostKey) about() string {
	return strings.TrimRight(rawkey.Describe(k.public)+"   "+k.comment, " ")
}

func (k hostKey) printConf(out io.Writer, side string) error {
	text, err := rawkey.Format(k.public)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\t# %s\n\t%s%s=%s\n", k.about(), side, rawkey.Keyword(k.public), text)
	return err
}

func (k hostKey) printTXT(out io.Writer, gateway string) error {
	if err := rawkey.CheckGateway(gateway); err != nil {
		return err
	}
	if _, ok := k.public.(*rsa.PublicKey); !ok {
		return fmt.Errorf("a TXT record carries an RSA key; this one is %s", rawkey.Describe(k.public))
	}
	const preference = 10
	record, err := rawkey.TXTRecord(preference, gateway, k.public)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "; %s\n%s\n", k.about(), strings.TrimRight(record, "\n"))
	return err
}

func (k hostKey) printKEY(out io.Writer) error {
	host, _, _ := strings.Cut(k.comment, " ")
	record, err := rawkey.KEYRecord(host, k.public)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "; %s\n%s\n", k.about(), strings.TrimRight(record, "\n"))
	return err
}

func (k hostKey) printJSON(out io.Writer) error {
	text, err := rawkey.Format(k.public)
	if err != nil {
		return err
	}
	return printJSON(out, struct {
		Version int    `json:"version"`
		Kind    string `json:"kind"`
		KeyID   string `json:"keyid"`
		Keyword string `json:"keyword"`
		Key     string `json:"key"`
		Comment string `json:"comment,omitempty"`
	}{1, rawkey.Describe(k.public), rawkey.KeyID(k.public), rawkey.Keyword(k.public), text, k.comment})
}
