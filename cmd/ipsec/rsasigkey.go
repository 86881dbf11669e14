package main

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/rawkey"
	"cygnet/internal/whack"
)

func newRsasigkey() *cobra.Command {
	order := keyOrder{kind: "rsa"}
	var host, old string
	var verbose bool
	c := &cobra.Command{
		Use:   "rsasigkey BITS | rsasigkey --oldkey FILE",
		Short: "Make an RSA key and print the inner lines of its ipsec.secrets block",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if old != "" && len(args) == 0 {
				return reprint(cmd, old)
			}
			if len(args) != 1 || old != "" {
				return fail(whack.ExitUsage, "give the number of bits, or --oldkey FILE")
			}
			bits, err := strconv.Atoi(args[0])
			if err != nil {
				return fail(whack.ExitUsage, "%q is not a number of bits", args[0])
			}
			order.bits = bits
			if err := order.check(); err != nil {
				return fail(whack.ExitFailed, "%w", err)
			}
			if verbose {
				fmt.Fprintf(cmd.ErrOrStderr(), "making an RSA key of %d bits...\n", bits)
			}
			key, err := order.generateRSA()
			if err != nil {
				return err
			}
			block := rawkey.Block{Key: key, Comment: keyComment(host, time.Now())}
			return block.WriteFields(cmd.OutOrStdout())
		},
	}
	f := c.Flags()
	f.BoolVar(&verbose, "verbose", false, "say what is going on")
	f.StringVar(&host, "hostname", "", "host name for the comment; default: this host's")
	f.StringVar(&old, "oldkey", "", "print the block in this file again, with its public lines")
	f.BoolVar(&order.phi, "noopt", false, "compute the private exponent modulo (p-1)(q-1)")
	f.IntVar(&order.exponent, "e", 65537, "public exponent: 3 or 65537")
	f.BoolVar(&order.allowWeak, "allow-weak", false, "allow fewer than 2048 bits")
	f.String("random", "", "accepted for old scripts; the kernel's generator is used")
	f.Int("rounds", 30, "accepted for old scripts; the library chooses the primality tests")
	return c
}

// keyComment is what stands after the bit count: host and date.
func keyComment(host string, now time.Time) string {
	if host == "" {
		host, _ = os.Hostname() // without one, the comment has none
	}
	return cmp.Or(host, "localhost") + "   " + now.Format("Mon Jan _2 15:04:05 2006")
}

// reprint writes an existing block anew. The file holds the inner lines, or a
// whole entry.
func reprint(cmd *cobra.Command, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	inner := string(text)
	if _, after, ok := strings.Cut(inner, "{"); ok {
		inner, _, _ = strings.Cut(after, "}")
	}
	block, err := rawkey.ParseBlock(inner)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return block.WriteFields(cmd.OutOrStdout())
}
