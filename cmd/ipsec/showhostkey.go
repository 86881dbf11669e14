package main

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"cygnet/internal/rawkey"
	"cygnet/internal/whack"
)

// showOrder is what showhostkey was asked for.
type showOrder struct {
	left, right, key, ipseckey, dhclient, list, dump, pem, asJSON bool

	txt, file, id string
	record        recordOrder
}

func newShowhostkey() *cobra.Command {
	var o showOrder
	c := &cobra.Command{
		Use:   "showhostkey --left | --right | --ipseckey | --txt GATEWAY | --key | --pem | --list | --dump | --json [OPTION...]",
		Short: "Show the public half of this host's key, ready to paste",
		Long: `showhostkey prints the public half of a key of ipsec.secrets: as a line of
ipsec.conf (--left, --right), as a record for a zone file (--ipseckey, --txt and
the obsolete --key), or as PEM. The private half is never shown.

A record stands at the name that --owner gives: a host name, an address, whose
reverse name is meant, or a prefix, which makes a record for each of its
addresses, or one for all with --wildcard.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.OutOrStdout(), cmd.ErrOrStderr()) },
	}
	f := c.Flags()
	f.BoolVar(&o.left, "left", false, "as leftrsasigkey= (or leftpubkey=) for ipsec.conf")
	f.BoolVar(&o.right, "right", false, "as rightrsasigkey= (or rightpubkey=) for ipsec.conf")
	f.BoolVar(&o.ipseckey, "ipseckey", false, "as an IPSECKEY record (RFC 4025)")
	f.StringVar(&o.txt, "txt", "", "as a TXT record that names this gateway: an address, or @ and a domain name")
	f.BoolVar(&o.key, "key", false, "as a KEY record (obsolete)")
	f.StringVar(&o.record.gateway, "gateway", "", "gateway of the IPSECKEY record, address or name (default: the owner itself)")
	f.IntVar(&o.record.precedence, "precedence", defaultPrecedence, "precedence of the record: 0, first choice, to 255")
	f.StringVar(&o.record.owner, "owner", "", "where the record stands: host name, address or prefix (default: the gateway's reverse name)")
	f.BoolVar(&o.record.wildcard, "wildcard", false, "one record for all addresses of --owner that have no other")
	f.StringVar(&o.file, "file", "", "look into this file instead of ipsec.secrets")
	f.StringVar(&o.id, "id", "", "the key that has this identity before its colon")
	f.BoolVar(&o.list, "list", false, "list the keys, one a line")
	f.BoolVar(&o.dump, "dump", false, "list the keys with their public halves")
	f.BoolVar(&o.pem, "pem", false, "as PEM")
	f.BoolVar(&o.dhclient, "dhclient", false, "DHCP options of WAVEsec; not supported")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return c
}

func (o *showOrder) run(out, diag io.Writer) error {
	forms := 0
	for _, on := range []bool{o.left, o.right, o.key, o.ipseckey, o.dhclient, o.list, o.dump, o.pem, o.txt != "", o.asJSON} {
		if on {
			forms++
		}
	}
	switch {
	case forms != 1:
		return fail(whack.ExitUsage, "exactly one of --left, --right, --ipseckey, --txt, --key, --pem, --list, --dump and --json is needed")
	case o.dhclient:
		return fail(whack.ExitFailed, "the DHCP options of WAVEsec are not supported")
	}
	file := cmp.Or(o.file, where().secrets())
	if o.list || o.dump {
		return listKeys(out, file, o.dump)
	}
	own, err := findHostKey(file, o.id)
	if err != nil {
		return fail(whack.ExitFailed, "%w", err)
	}
	switch {
	case o.txt != "":
		o.record.gateway = o.txt
		return own.printTXT(out, o.record)
	case o.ipseckey:
		return own.printIPSECKEY(out, o.record)
	case o.key:
		fmt.Fprintln(diag, "showhostkey: KEY records for IPsec are obsolete since RFC 3445; publish --ipseckey or --txt")
		return own.printKEY(out, o.record)
	case o.pem:
		return own.printPEM(out)
	case o.asJSON:
		return own.printJSON(out)
	}
	return own.printConf(out, map[bool]string{true: "left", false: "right"}[o.left])
}

// about is the comment line's text: kind, size, host and date.
func (k hostKey) about() string {
	return strings.TrimRight(rawkey.Describe(k.public)+"   "+k.comment, " ")
}

// host is the name in the comment of the key, else this machine's.
func (k hostKey) host() string {
	if name, _, _ := strings.Cut(k.comment, " "); name != "" {
		return name
	}
	return fullHostname()
}

func (k hostKey) printConf(out io.Writer, side string) error {
	text, err := rawkey.Format(k.public)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\t# %s\n\t%s%s=%s\n", k.about(), side, rawkey.Keyword(k.public), text)
	return err
}

func (k hostKey) printPEM(out io.Writer) error {
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		return err
	}
	return pem.Encode(out, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// shownKey is what --json prints.
type shownKey struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"`
	KeyID   string `json:"keyid"`
	Keyword string `json:"keyword"`
	Key     string `json:"key"`
	Comment string `json:"comment,omitempty"`
}

func (k hostKey) printJSON(out io.Writer) error {
	text, err := rawkey.Format(k.public)
	if err != nil {
		return err
	}
	return printJSON(out, shownKey{1, rawkey.Describe(k.public), rawkey.KeyID(k.public), rawkey.Keyword(k.public), text, k.comment})
}

// listKeys prints each key of a secrets file with its identities; dump adds the
// public half.
func listKeys(out io.Writer, file string, dump bool) error {
	keys, err := hostKeys(file)
	if err != nil {
		return fail(whack.ExitFailed, "%w", err)
	}
	for n, k := range keys {
		whose := "any"
		if len(k.index) > 0 {
			whose = strings.Join(k.index, " ")
		}
		fmt.Fprintf(out, "%d  %s  %s  for %s  %s\n", n+1, rawkey.Describe(k.public), rawkey.KeyID(k.public), whose, k.comment)
		if !dump {
			continue
		}
		text, err := rawkey.Format(k.public)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\t%s\n", text)
	}
	return nil
}

// fullHostname is what `hostname --fqdn' prints, as far as the machine knows.
func fullHostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}
