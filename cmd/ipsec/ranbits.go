package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cygnet/internal/whack"
)

const maxRandomBits = 20000 // as ranbits and rsasigkey always had it

func newRanbits() *cobra.Command {
	var continuous, bytes bool
	c := &cobra.Command{
		Use:   "ranbits [--quick] [--continuous] [--bytes] N",
		Short: "Print N random bits for use as a key or shared secret",
		Long: `ranbits prints N random bits, rounded up to whole octets, from the kernel's
generator, as 0x and hexadecimal digits with _ after every eight of them. The
output can be pasted wherever ipsec.conf or ipsec.secrets wants a key.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[0])
			if err != nil || n < 1 {
				return fail(whack.ExitFailed, "%q is not a number of bits", args[0])
			}
			if bytes {
				n *= 8
			}
			if n > maxRandomBits {
				return fail(whack.ExitFailed, "at most %d bits can be asked for", maxRandomBits)
			}
			b := make([]byte, (n+7)/8)
			rand.Read(b)
			fmt.Fprintln(cmd.OutOrStdout(), formatBits(b, continuous))
			return nil
		},
	}
	c.Flags().BoolVar(&continuous, "continuous", false, "print the digits without underscores")
	c.Flags().BoolVar(&bytes, "bytes", false, "N counts octets instead of bits")
	c.Flags().Bool("quick", false, "accepted for old scripts; the kernel's generator is quick already")
	return c
}

func formatBits(b []byte, continuous bool) string {
	digits := hex.EncodeToString(b)
	if continuous {
		return "0x" + digits
	}
	var groups []string
	for ; len(digits) > 8; digits = digits[8:] {
		groups = append(groups, digits[:8])
	}
	return "0x" + strings.Join(append(groups, digits), "_")
}
