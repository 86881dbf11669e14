package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cygnet/internal/ipsec"
	"cygnet/internal/whack"
)

// doByHand asks for one operation of the data plane. Warnings go to standard
// error, and so does the reason of a failure.
func doByHand(cmd *cobra.Command, r whack.Request) error {
	final, err := whack.Ask(cmd.Context(), where().socket(), r, func(reply whack.Reply) {
		if reply.Text != "" {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", cmd.Name(), reply.Text)
		}
	})
	switch {
	case errors.Is(err, whack.ErrNotRunning):
		return fail(whack.ExitNotRunning, "KLIPS is not running: `ipsec setup start' starts it, with pluto=no in config setup without Pluto")
	case err != nil:
		return &exitError{whack.ExitFor(final, err), err}
	case final.Exit != whack.ExitDone:
		return fail(final.Exit, "%s", final.Text)
	}
	return nil
}

// saidFlags are the words of an SA: --said, or --af, --edst, --spi and --proto.
type saidFlags struct{ said, af, edst, spi, proto string }

func (f *saidFlags) add(s *pflag.FlagSet) {
	s.StringVar(&f.said, "said", "", "the SA, as esp0x200@192.0.2.1, or a shunt as %drop")
	s.StringVar(&f.af, "af", "", "its address family: inet or inet6")
	s.StringVar(&f.edst, "edst", "", "its destination address")
	s.StringVar(&f.spi, "spi", "", "its number, 0x100 to 0xffffffff")
	s.StringVar(&f.proto, "proto", "", "its protocol: ah, esp, comp, tun or int")
}

// said is the SA that was given; empty if none was.
func (f *saidFlags) get() (string, error) {
	if f.said != "" {
		if f.edst+f.spi+f.proto != "" {
			return "", fail(whack.ExitUsage, "--said names the whole SA: leave out --edst, --spi and --proto")
		}
		id, err := ipsec.ParseSAID(f.said)
		if err != nil {
			return "", fail(whack.ExitUsage, "--said: %w", err)
		}
		return id.String(), nil
	}
	if f.af+f.edst+f.spi+f.proto == "" {
		return "", nil
	}
	return saidOf(f.af, f.edst, f.spi, f.proto)
}

// saidOf makes an SA of the four words that FreeS/WAN has for one.
func saidOf(af, edst, spi, proto string) (string, error) {
	a, err := netip.ParseAddr(edst)
	if err != nil {
		return "", fail(whack.ExitUsage, "destination of the SA: %w", err)
	}
	if err := sameFamily(af, a); err != nil {
		return "", err
	}
	n, err := strconv.ParseUint(spi, 0, 32)
	if err != nil {
		return "", fail(whack.ExitUsage, "SPI %q is not a number of at most 32 bits", spi)
	}
	for _, p := range []ipsec.Proto{ipsec.AH, ipsec.ESP, ipsec.Comp, ipsec.Tun, ipsec.Int} {
		if p.String() == proto {
			return ipsec.SAID{Dst: a, Proto: p, SPI: ipsec.SPI(n)}.String(), nil
		}
	}
	return "", fail(whack.ExitUsage, "protocol %q is none of ah, esp, comp, tun and int", proto)
}

func sameFamily(af string, a netip.Addr) error {
	switch {
	case af == "", af == "inet" && a.Is4(), af == "inet6" && a.Is6():
		return nil
	case af == "inet", af == "inet6":
		return fail(whack.ExitUsage, "%s is not an address of family %s", a, af)
	}
	return fail(whack.ExitUsage, "address family %q is neither inet nor inet6", af)
}

// transport are protocols by name.
var transport = map[string]uint8{"any": 0, "icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "icmp6": 58, "ipv6-icmp": 58, "sctp": 132}

func protocol(text string) (uint8, error) {
	if n, ok := transport[strings.ToLower(text)]; ok {
		return n, nil
	}
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		return 0, fail(whack.ExitUsage, "unknown transport protocol %q", text)
	}
	return uint8(n), nil
}

// port reads a port by number or by its name in /etc/services.
func port(proto uint8, text string) (uint16, error) {
	if n, err := strconv.ParseUint(text, 10, 16); err == nil {
		return uint16(n), nil
	}
	network := "tcp"
	if proto == 17 {
		network = "udp"
	}
	n, err := net.LookupPort(network, text)
	if err != nil {
		return 0, fail(whack.ExitUsage, "unknown port %q", text)
	}
	return uint16(n), nil
}

// oldFlags are accepted for old scripts and change nothing.
func oldFlags(s *pflag.FlagSet) {
	s.Bool("debug", false, "accepted for old scripts")
	s.String("label", "", "accepted for old scripts")
	s.MarkHidden("debug")
	s.MarkHidden("label")
}

// oneOf finds the single operation that is on. None at all is "".
func oneOf(cmd *cobra.Command, names ...string) (string, error) {
	found := ""
	for _, n := range names {
		if on, err := cmd.Flags().GetBool(n); err == nil && on {
			if found != "" {
				return "", fail(whack.ExitUsage, "--%s and --%s exclude each other", found, n)
			}
			found = n
		}
	}
	return found, nil
}
