package main

import (
	"cmp"
	"context"
	"fmt"
	"net/mail"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"cygnet/internal/dns"
	"cygnet/internal/oe"
	"cygnet/internal/rawkey"
	"cygnet/internal/whack"
)

// mailOrder is what mailkey was asked for.
type mailOrder struct {
	me, reverse, forward, id, dir string
	update                        bool
}

func newMailkey() *cobra.Command {
	var o mailOrder
	c := &cobra.Command{
		Use:   "mailkey --me ADDRESS (--reverse IP | --forward NAME) [--update]",
		Short: "Write the mail that asks a zone's administrator to publish this host's key",
		Long: `mailkey writes a message to whoever administers the zone in which this host's key
has to stand, as its SOA record names him, into a file OE_mail_... in the home
directory, and prints the command that sends it. It sends nothing itself. With
--update it prints what nsupdate needs to publish the key.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return fail(whack.ExitUsage, "%w", err)
			}
			text, err := o.compose(cmd.Context())
			if err != nil {
				return fail(whack.ExitFailed, "%w", err)
			}
			if o.update {
				fmt.Fprint(cmd.OutOrStdout(), text.update)
				return nil
			}
			name := filepath.Join(cmp.Or(o.dir, os.Getenv("HOME"), "."), "OE_mail_"+cmp.Or(o.reverse, o.forward))
			if text.to == "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "mailkey: Unable to locate SOA record for this domain")
			} else {
				name += ".eml"
			}
			if err := os.WriteFile(name, []byte(text.mail), 0o644); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "wrote %s\n", name)
			if text.to != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "to send it: sendmail -t < %s\n", name)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.me, "me", "", "your mail address, for the answer")
	f.StringVar(&o.reverse, "reverse", "", "the key shall stand at the reverse name of this address: others can call us")
	f.StringVar(&o.forward, "forward", "", "the key shall stand at this name: we can call others")
	f.StringVar(&o.id, "id", "", "the key that has this identity in ipsec.secrets")
	f.StringVar(&o.dir, "dir", "", "directory of the file (default: the home directory)")
	f.BoolVar(&o.update, "update", false, "print an update for nsupdate (RFC 2136) instead")
	return c
}

func (o *mailOrder) check() error {
	if (o.reverse == "") == (o.forward == "") {
		return fmt.Errorf("one of --reverse and --forward says where the key shall stand")
	}
	if _, err := netip.ParseAddr(o.reverse); o.reverse != "" && err != nil {
		return fmt.Errorf("--reverse: %w", err)
	}
	if o.forward != "" && rawkey.CheckGateway("@"+o.forward) != nil {
		return fmt.Errorf("--forward: %q is no host name", o.forward)
	}
	if _, err := mail.ParseAddress(o.me); !o.update && err != nil {
		return fmt.Errorf("--me needs your mail address: %w", err)
	}
	return nil
}

// request is the text of a request to publish.
type request struct{ to, mail, update string }

func (o *mailOrder) compose(ctx context.Context) (request, error) {
	own, err := findHostKey(where().secrets(), o.id)
	if err != nil {
		return request{}, fmt.Errorf("%w; `ipsec newhostkey' makes a key", err)
	}
	owner, gw, purpose := oe.Name(o.forward), "", "initiate opportunistic encryption (initiator-only)"
	if o.reverse != "" {
		a, _ := netip.ParseAddr(o.reverse) // checked before
		owner, gw, purpose = oe.ReverseName(a), a.String(), "be found for opportunistic encryption (full, for "+o.reverse+")"
	}
	record, err := rawkey.IPSECKEYRecord(owner, defaultPrecedence, gw, own.public)
	if err != nil {
		return request{}, err
	}
	records := record + "\n"
	if txt, err := rawkey.TXTRecord(defaultPrecedence, cmp.Or(gw, "@"+o.forward), own.public); err == nil {
		records += owner + txt + "\n" // only RSA keys have this form
	}
	update := "update add " + strings.Replace(record, "\tIN\t", " 3600 IN ", 1) + "\nsend\n"
	r, _, err := openDNS(where())
	if err != nil {
		return request{}, err
	}
	defer r.Close()
	to := administrator(ctx, r, owner)
	return request{to, o.letter(to, owner, purpose, records), update}, nil
}

// letter is a whole message, headers first. All that came from the DNS is in
// the header To only, where administrator has admitted nothing but an address.
func (o *mailOrder) letter(to, owner, purpose, records string) string {
	var b strings.Builder
	if to != "" {
		fmt.Fprintf(&b, "To: %s\n", to)
	}
	fmt.Fprintf(&b, "From: %s\nReply-To: %s\nSubject: please publish an IPsec key at %s\n\n", o.me, o.me, owner)
	fmt.Fprintf(&b, "Please publish these records in the zone of %s, so that my machine\ncan %s:\n\n", owner, purpose)
	fmt.Fprintf(&b, "----- cut here -----\n%s----- cut here -----\n\n", records)
	b.WriteString("One of them is enough; IPSECKEY is the better one. Blanks and quotes in them\nmean something, please keep them as they are. Thank you.\n")
	return b.String()
}

// administrator finds who is responsible for a name: the mail address in the
// SOA of its zone, or none. A label with anything but what addresses are made
// of is refused: it would be text of a stranger in our headers.
func administrator(ctx context.Context, r oe.Resolver, name string) string {
	ctx, cancel := context.WithTimeout(ctx, dnsWait)
	defer cancel()
	for labels := dns.Labels(name); len(labels) > 0; labels = labels[1:] {
		a, err := r.Lookup(ctx, dns.Join(labels), oe.TypeSOA)
		if err != nil || !a.Found || len(a.Raw) == 0 {
			continue
		}
		user, domain, ok := dns.SOAMailbox(a.Raw[0])
		address := user + "@" + domain
		if _, err := mail.ParseAddress(address); !ok || err != nil || strings.ContainsFunc(address, notMail) {
			return ""
		}
		return address
	}
	return ""
}

func notMail(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("@.-_+", r))
}
