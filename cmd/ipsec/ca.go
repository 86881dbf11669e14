package main

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/authority"
	"cygnet/internal/ike"
	"cygnet/internal/pki"
	"cygnet/internal/rawkey"
	"cygnet/internal/whack"
)

// newCA is a small certification authority. Its directory belongs on a machine
// of its own, if there is one; nothing but the printed certificates leaves it.
func newCA() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "ca",
		Short: "Make certificates for gateways and road warriors: a small authority",
		Long: `ca makes X.509 certificates for those who have no authority yet:

  ipsec ca init --name "C=CH, O=Lab, CN=Lab CA"        once, on one machine
  ipsec ca request --name "C=CH, O=Lab, CN=west" --san @west.example.org west >west.csr
                                                      on each gateway
  ipsec ca sign west.csr >west.pem                     on the first machine
  ipsec ca revoke west.pem >lab.crl

The private key of a gateway is made by request, in ipsec.d/private, and never
leaves it. west.pem goes into its ipsec.d/certs, the authority's own ca.pem into
ipsec.d/cacerts of all, and the list into ipsec.d/crls, after which
` + "`ipsec auto --rereadcrls'" + ` ends the tunnels of those on it.`,
	}
	c.PersistentFlags().StringVar(&dir, "dir", "", "directory of the authority (default: ipsec.d/ca)")
	at := func() string {
		if dir != "" {
			return dir
		}
		return filepath.Join(where().conf, "ipsec.d", "ca")
	}
	c.AddCommand(newCAInit(at), newCARequest(), newCASign(at), newCARevoke(at), newCACRL(at))
	return c
}

// certKind is the kind of keys that certificates get.
type certKind struct{ keyOrder }

func (k *certKind) flags(c *cobra.Command) {
	k.keyOrder = keyOrder{exponent: 65537, bits: defaultBits}
	c.Flags().StringVar(&k.kind, "keytype", "ecdsa", "ecdsa (P-256), rsa or ed25519; IKEv1 knows RSA only")
	c.Flags().IntVar(&k.bits, "bits", defaultBits, "size of an RSA key")
}

func newCAInit(dir func() string) *cobra.Command {
	var name string
	var days int
	var kind certKind
	c := &cobra.Command{
		Use:   "init --name DN",
		Short: "Make the authority: its key, which only root may read, and its certificate",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			subject, err := ike.ParseID(name)
			if err != nil {
				return fail(whack.ExitUsage, "--name: %w", err)
			}
			if err := kind.check(); err != nil {
				return fail(whack.ExitUsage, "%w", err)
			}
			key, err := kind.generate()
			if err != nil {
				return err
			}
			a, err := authority.New(rand.Reader, key, subject, time.Now(), days)
			if err != nil {
				return fail(whack.ExitUsage, "--name: %w", err)
			}
			text, err := rawkey.FormatPrivate(key)
			if err != nil {
				return err
			}
			if err := writeNew(filepath.Join(dir(), caKeyFile), text); err != nil {
				return err
			}
			if err := writeNew(filepath.Join(dir(), caCertFile), encode(pemCert, a.Cert.Raw)); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "authority '%s' is in %s; put %s into ipsec.d/cacerts of every gateway\n", subject, dir(), caCertFile)
			return nil
		},
	}
	c.Flags().StringVar(&name, "name", "", "distinguished name, as in C=CH, O=Lab, CN=Lab CA")
	c.Flags().IntVar(&days, "days", 3650, "how long its certificate is valid")
	kind.flags(c)
	return c
}

func newCARequest() *cobra.Command {
	var name string
	var sans []string
	var kind certKind
	c := &cobra.Command{
		Use:   "request --name DN [--san @HOST|USER@HOST|ADDRESS]… FILE",
		Short: "Make a key in ipsec.d/private/FILE.pem and print a request for its certificate",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if filepath.Base(args[0]) != args[0] || strings.HasPrefix(args[0], ".") {
				return fail(whack.ExitUsage, "%q is not the name of a file", args[0])
			}
			subject, names, err := identities(name, sans)
			if err != nil {
				return fail(whack.ExitUsage, "%w", err)
			}
			if err := kind.check(); err != nil {
				return fail(whack.ExitUsage, "%w", err)
			}
			key, err := kind.generate()
			if err != nil {
				return err
			}
			request, err := authority.Request(rand.Reader, key, subject, names)
			if err != nil {
				return fail(whack.ExitUsage, "%w", err)
			}
			text, err := rawkey.FormatPrivate(key)
			if err != nil {
				return err
			}
			path := filepath.Join(where().conf, "ipsec.d", "private", strings.TrimSuffix(args[0], ".pem")+".pem")
			if err := writeNew(path, text); err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(encode(pemRequest, request))
			return err
		},
	}
	c.Flags().StringVar(&name, "name", "", "distinguished name, as in C=CH, O=Lab, CN=west")
	c.Flags().StringArrayVar(&sans, "san", nil, "another name that leftid= may have; may be given several times")
	kind.flags(c)
	return c
}

// identities reads what a certificate is to name.
func identities(name string, sans []string) (subject ike.ID, names []ike.ID, err error) {
	if name != "" {
		if subject, err = ike.ParseID(name); err != nil {
			return subject, nil, fmt.Errorf("--name: %w", err)
		}
	}
	for _, s := range sans {
		id, err := ike.ParseID(s)
		if err != nil {
			return subject, nil, fmt.Errorf("--san %q: %w; write a host name as @%s", s, err, s)
		}
		names = append(names, id)
	}
	return subject, names, nil
}

func newCASign(dir func() string) *cobra.Command {
	var days int
	var crls []string
	c := &cobra.Command{
		Use:   "sign [--days N] [--crl URI]… [REQUEST]",
		Short: "Issue a certificate for a request, from a file or standard input, and print it",
		Long: `sign issues what the request asks for. Look at whom it names, which is printed
first on standard error, and make sure that they sent it: a certificate is as
good as the care that is taken here.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := openCA(dir())
			if err != nil {
				return err
			}
			request, err := readPEM(cmd.InOrStdin(), args, pemRequest)
			if err != nil {
				return err
			}
			cert, err := a.Sign(request, time.Now(), days, crls)
			if err != nil {
				return fail(whack.ExitFailed, "%w", err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "certificate %x for %s, until %s\n", cert.SerialNumber, pki.NamesOf(cert), cert.NotAfter.Format(time.DateOnly))
			_, err = cmd.OutOrStdout().Write(encode(pemCert, cert.Raw))
			return err
		},
	}
	c.Flags().IntVar(&days, "days", 365, "how long the certificate is valid")
	c.Flags().StringArrayVar(&crls, "crl", nil, "where the list of revoked certificates will be, http://…")
	return c
}

func newCARevoke(dir func() string) *cobra.Command {
	var days int
	c := &cobra.Command{
		Use:   "revoke [CERTIFICATE]",
		Short: "Revoke a certificate, from a file or standard input, and print the new list",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := openCA(dir())
			if err != nil {
				return err
			}
			der, err := readPEM(cmd.InOrStdin(), args, pemCert)
			if err != nil {
				return err
			}
			cert, err := x509.ParseCertificate(der)
			if err == nil {
				err = cert.CheckSignatureFrom(a.Cert)
			}
			if err != nil {
				return fail(whack.ExitFailed, "this certificate is not of this authority: %w", err)
			}
			if err := noteRevoked(dir(), cert.SerialNumber, time.Now()); err != nil {
				return err
			}
			return printCRL(cmd.OutOrStdout(), a, dir(), days)
		},
	}
	c.Flags().IntVar(&days, "days", 30, "how long the list is valid")
	return c
}

func newCACRL(dir func() string) *cobra.Command {
	var days int
	c := &cobra.Command{
		Use:   "crl",
		Short: "Print a new list of the revoked certificates, before the last one runs out",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := openCA(dir())
			if err != nil {
				return err
			}
			return printCRL(cmd.OutOrStdout(), a, dir(), days)
		},
	}
	c.Flags().IntVar(&days, "days", 30, "how long the list is valid")
	return c
}
