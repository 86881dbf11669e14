package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/config"
	"cygnet/internal/dns"
	"cygnet/internal/enroll"
	"cygnet/internal/oe"
	"cygnet/internal/rawkey"
	"cygnet/internal/resolve"
	"cygnet/internal/whack"
)

// enrolment is what enroll was asked for.
type enrolment struct {
	address, server, tsig, zone string
	clients, policy             []string
	group, batch, output        string
	wildcard, print, remove     bool
	wait                        time.Duration

	out    io.Writer
	number int
}

func newEnroll() *cobra.Command {
	var o enrolment
	c := &cobra.Command{
		Use: `enroll --address ADDRESS [--clients NET,...] (--print | --server NAMESERVER --tsig FILE) [--policy NET,...]
       ipsec enroll --batch FILE --output DIR`,
		Short: "Make this gateway one that everybody can encrypt with",
		Long: `enroll makes the gateway's key if it has none, and the records by which others
find it: at its own reverse name, and at those of all addresses behind it. With
--server and --tsig it puts them into the zone by dynamic update (RFC 2136),
waits until the resolver has them, proven, and with our key, and only then adds
--policy to a policy group. Whatever step it was interrupted after, it can be
run again. Nothing has to be done on any other gateway.

With --batch it prepares many gateways at once, from a list with a line of
ADDRESS,NET,NET... for each: a directory below --output for each of them, with
its ipsec.secrets, and the records of all of them on standard output.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.out = cmd.OutOrStdout()
			if o.batch != "" {
				return o.many()
			}
			return o.one(cmd.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&o.address, "address", "", "address of this gateway")
	f.StringSliceVar(&o.clients, "clients", nil, "networks behind it")
	f.BoolVar(&o.wildcard, "wildcard", false, "one record for all addresses of each network, instead of one for each")
	f.BoolVar(&o.print, "print", false, "print the records for the zone and do no more")
	f.StringVar(&o.server, "server", "", "primary name server of the zone")
	f.StringVar(&o.tsig, "tsig", "", "file with the key for updates")
	f.StringVar(&o.zone, "zone", "", "zone to update (default: found in the DNS)")
	f.StringSliceVar(&o.policy, "policy", nil, "networks to encrypt with from then on")
	f.StringVar(&o.group, "group", "private", "policy group that they go into")
	f.BoolVar(&o.remove, "remove", false, "withdraw the records")
	f.DurationVar(&o.wait, "wait", time.Minute, "how long to wait until the records are seen")
	f.StringVar(&o.batch, "batch", "", "file with a line for each of many gateways")
	f.StringVar(&o.output, "output", "", "with --batch: directory for their files")
	return c
}

// step tells one step.
func (o *enrolment) step(what, format string, args ...any) {
	o.number++
	fmt.Fprintf(o.out, "%3d %-14s %s\n", o.number, what, fmt.Sprintf(format, args...))
}

func (o *enrolment) one(ctx context.Context) error {
	if !o.print && (o.server == "" || o.tsig == "") {
		return fail(whack.ExitUsage, "either --print, or --server and --tsig")
	}
	if err := o.checkPolicy(); err != nil {
		return err
	}
	m, err := enroll.Parse(o.address, o.clients)
	if err != nil {
		return fail(whack.ExitUsage, "%w", err)
	}
	m.Wildcard = o.wildcard
	owners, err := m.Owners()
	if err != nil {
		return fail(whack.ExitUsage, "%w", err)
	}
	if o.remove {
		return o.withdraw(ctx, m, owners)
	}
	key, made, err := keyOf(where().conf)
	if err != nil {
		return err
	}
	lines, err := m.Records(key)
	if err != nil {
		return err
	}
	if o.print {
		fmt.Fprintln(o.out, strings.Join(lines, "\n"))
		return nil
	}
	o.step("host key", "%s %s, %s", rawkey.Describe(key), rawkey.KeyID(key), made)
	o.step("record", "%.72s", strings.Join(strings.Fields(lines[0]), " "))
	o.step("clients", "%d records", len(lines)-1)
	return o.publish(ctx, m, key, owners, lines)
}

func (o *enrolment) publish(ctx context.Context, m enroll.Member, key crypto.PublicKey, owners, lines []string) error {
	r, opts, err := openDNS(where())
	if err != nil {
		return fail(whack.ExitConfig, "%w", err)
	}
	defer r.Close()
	u, err := o.updater(ctx, r, m)
	if err != nil {
		return err
	}
	if err := u.Publish(ctx, owners, lines); err != nil {
		return err
	}
	o.step("update", "%s at %s NOERROR", u.Zone, o.server)
	if err := o.visible(ctx, r, opts, m, key); err != nil {
		return err
	}
	o.step("visible", "proven by DNSSEC, and the key is ours")
	if len(o.policy) == 0 {
		return nil
	}
	// Not before the record works: nobody may be made to encrypt with us who
	// cannot.
	added, err := addPolicy(filepath.Join(policyDir(), o.group), o.policy)
	if err != nil {
		return err
	}
	o.step("policy", "%s: %s, %d new", o.group, strings.Join(o.policy, " "), added)
	if !answers(ctx, where()) {
		o.step("reload", "pluto is not running: it reads the group when it starts")
		return nil
	}
	if err := o.reload(ctx); err != nil {
		return err
	}
	o.step("reload", "done")
	return nil
}

func (o *enrolment) reload(ctx context.Context) error {
	final, err := whack.Ask(ctx, where().socket(), whack.Request{Op: whack.OpReadGroups}, func(whack.Reply) {})
	if err != nil {
		return &exitError{whack.ExitFor(final, err), err}
	}
	if final.Exit != whack.ExitDone {
		return fail(final.Exit, "policy groups are not read again: %s", final.Text)
	}
	return nil
}

func (o *enrolment) withdraw(ctx context.Context, m enroll.Member, owners []string) error {
	r, _, err := openDNS(where())
	if err != nil {
		return fail(whack.ExitConfig, "%w", err)
	}
	defer r.Close()
	u, err := o.updater(ctx, r, m)
	if err != nil {
		return err
	}
	if err := u.Withdraw(ctx, owners); err != nil {
		return err
	}
	o.step("withdrawn", "%d names", len(owners))
	return nil
}

// updater reads the key and finds the zone.
func (o *enrolment) updater(ctx context.Context, r oe.Resolver, m enroll.Member) (enroll.Updater, error) {
	text, err := os.ReadFile(o.tsig)
	if err != nil {
		return enroll.Updater{}, err
	}
	key, err := enroll.ParseTSIG(string(text))
	if err != nil {
		return enroll.Updater{}, fmt.Errorf("%s: %w", o.tsig, err)
	}
	zone := o.zone
	for labels := dns.Labels(oe.ReverseName(m.Address)); zone == "" && len(labels) > 0; labels = labels[1:] {
		if a, err := r.Lookup(ctx, dns.Join(labels), oe.TypeSOA); err == nil && a.Found {
			zone = dns.Join(labels)
		}
	}
	if zone == "" {
		return enroll.Updater{}, fmt.Errorf("no zone is found for %s: name it with --zone", m.Address)
	}
	return enroll.Updater{Server: o.server, Zone: zone, Key: key}, nil
}

// visible waits until the resolver has our record, proven and with our key.
func (o *enrolment) visible(ctx context.Context, r *resolve.Resolver, opts oe.Options, m enroll.Member, key crypto.PublicKey) error {
	ctx, cancel := context.WithTimeout(ctx, o.wait)
	defer cancel()
	tick := time.NewTicker(visibleEvery)
	defer tick.Stop()
	for {
		f := resolve.Ask(ctx, r, oe.MaySpeak(m.Address, oe.Speaker{Addr: m.Address}, key, opts))
		if f.Cause == oe.CauseNone {
			return nil
		}
		select {
		case <-tick.C:
			r.Forget("")
		case <-ctx.Done():
			return fmt.Errorf("the record is in the zone, but not yet to be used: %s (%s); run the command again later", f.Why, f.Cause)
		}
	}
}

// visibleEvery is how often a new record is looked for.
const visibleEvery = 200 * time.Millisecond

// keyOf finds the default key of a configuration directory, or makes one.
func keyOf(conf string) (key crypto.PublicKey, how string, err error) {
	file := filepath.Join(conf, "ipsec.secrets")
	switch _, err := os.Stat(file); {
	case err == nil:
		own, err := findHostKey(file, "")
		return own.public, "there already", err
	case !errors.Is(err, fs.ErrNotExist):
		return nil, "", err
	}
	signer, err := keyOrder{kind: "ed25519"}.generate()
	if err != nil {
		return nil, "", err
	}
	entry, err := secretsEntry(conf, signer, "", "")
	if err == nil {
		err = replaceSecret(file, entry, nil)
	}
	return signer.Public(), "new", err
}

// many prepares all gateways of a list.
func (o *enrolment) many() error {
	if o.output == "" {
		return fail(whack.ExitUsage, "--batch needs --output DIR for the gateways' files")
	}
	list, err := os.Open(o.batch)
	if err != nil {
		return err
	}
	defer list.Close()
	members, err := enroll.Read(list)
	if err != nil {
		return fail(whack.ExitConfig, "%s: %w", o.batch, err)
	}
	for _, m := range members {
		m.Wildcard = o.wildcard
		conf := filepath.Join(o.output, m.Address.String())
		if err := os.MkdirAll(conf, 0o700); err != nil {
			return err
		}
		key, err := keyOfMember(conf)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Address, err)
		}
		lines, err := m.Records(key)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Address, err)
		}
		if _, err := fmt.Fprintln(o.out, strings.Join(lines, "\n")); err != nil {
			return err
		}
	}
	return nil
}

// keyOfMember is keyOf for the directory of another gateway, whose private keys
// are there as well.
func keyOfMember(conf string) (crypto.PublicKey, error) {
	if _, err := os.Stat(filepath.Join(conf, "ipsec.secrets")); err != nil {
		key, _, err := keyOf(conf)
		return key, err
	}
	secrets := config.LoadSecrets(conf, &config.Setup{})
	for _, e := range secrets.Entries {
		if e.Kind == config.SecretPrivate && len(e.Index) == 0 {
			return e.Private.Signer().Public(), nil
		}
	}
	if len(secrets.Errors) > 0 {
		return nil, secrets.Errors[0]
	}
	return nil, fmt.Errorf("%s has no key", conf)
}
