package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"cygnet/internal/config"
	"cygnet/internal/whack"
)

// Verdicts of `ipsec verify`.
const (
	verdictOK      = "OK"
	verdictFailed  = "FAILED"
	verdictMissing = "MISSING"
	verdictWarn    = "WARN"
	verdictNA      = "N/A"
)

const labelWidth = 65 // columns before the verdict, as scripts expect

// finding is one line of `ipsec verify`.
type finding struct {
	Label   string   `json:"label"`
	Verdict string   `json:"verdict"`
	Advice  []string `json:"advice,omitempty"`

	harmless bool // whatever the verdict
}

// verified is what --json prints of findings.
type verified struct {
	Version int       `json:"version"`
	Checks  []finding `json:"checks"`
}

// hostCheck looks at one thing.
type hostCheck func(ctx context.Context, at places) []finding

var hostChecks = []hostCheck{
	checkOnPath,
	checkTun,
	checkConfig,
	checkSecrets,
	checkPluto,
	checkForwarding,
	checkRPFilter,
	checkNAT,
	checkOldFilter,
	checkOwnRecords,
}

func newVerify() *cobra.Command {
	var o verifyOrder
	c := &cobra.Command{
		Use:   "verify [--host NAME] [--ip ADDRESS] [--dns-only]",
		Short: "Look at this machine and say what IPsec lacks",
		Long: `verify looks at this machine: the data plane, the files, the daemon, the kernel's
switches, and what the DNS says about it.

With --host or --ip it looks at the records of that host only, as a stranger
would who wants to encrypt with it: the exit code is 0 if opportunistic
encryption to it can work. That needs no rights.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := c.Flags()
	f.StringVar(&o.host, "host", "", "look at the records of this host name")
	f.StringVar(&o.addr, "ip", "", "look at the records of this address")
	f.BoolVar(&o.dnsOnly, "dns-only", false, "do not ask whether the gateway answers")
	f.BoolVar(&o.colour, "colour", false, "colour the verdicts, also if this is no terminal")
	f.BoolVar(&o.plain, "nocolour", false, "do not colour the verdicts")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	f.BoolVar(&o.exitZero, "exit-zero", false, "exit 0 whatever is found, as the old verify did")
	return c
}

// verifyOrder is what verify was asked for.
type verifyOrder struct {
	host, addr       string
	dnsOnly          bool
	colour, plain    bool
	asJSON, exitZero bool
}

func (o *verifyOrder) run(cmd *cobra.Command) error {
	var found []finding
	show := func(f finding) {
		found = append(found, f)
		if !o.asJSON {
			printFinding(cmd.OutOrStdout(), f, o.colours(cmd.OutOrStdout()))
		}
	}
	fine := true
	if o.host != "" || o.addr != "" {
		var err error
		if fine, err = o.reachable(cmd.Context(), show); err != nil {
			return err
		}
	} else {
		for _, look := range hostChecks {
			for _, f := range look(cmd.Context(), where()) {
				show(f)
			}
		}
		fine = !bad(found)
	}
	if o.asJSON {
		if err := printJSON(cmd.OutOrStdout(), verified{1, found}); err != nil {
			return err
		}
	}
	if !fine && !o.exitZero {
		return ended(whack.ExitFailed)
	}
	return nil
}

func (o *verifyOrder) colours(out io.Writer) bool {
	if a, ok := out.(*answer); ok {
		out = a.Writer
	}
	f, ok := out.(*os.File)
	return o.colour || !o.plain && ok && term.IsTerminal(int(f.Fd()))
}

// printFinding prints one line; the verdict is green if all is well, yellow if
// it is worth a look, red if not.
func printFinding(out io.Writer, f finding, colours bool) {
	if f.Verdict == "" {
		fmt.Fprintln(out, f.Label)
		return
	}
	verdict := "[" + f.Verdict + "]"
	if colours {
		const green, yellow, red = 32, 33, 31
		colour := red
		switch {
		case f.Verdict == verdictOK || f.Verdict == verdictSecure || f.Verdict == verdictNA:
			colour = green
		case f.harmless || f.Verdict == verdictWarn || f.Verdict == verdictDeprecated:
			colour = yellow
		}
		verdict = fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, verdict)
	}
	fmt.Fprintf(out, "%-*s\t%s\n", labelWidth, f.Label, verdict)
	for _, a := range f.Advice {
		fmt.Fprintf(out, "  %s\n", a)
	}
}

func bad(found []finding) bool {
	return slices.ContainsFunc(found, func(f finding) bool {
		switch f.Verdict {
		case "", verdictOK, verdictSecure, verdictNA, verdictWarn, verdictDeprecated:
			return false
		}
		return !f.harmless
	})
}

func checkOnPath(context.Context, places) []finding {
	f := finding{Label: "Version check and ipsec on-path", Verdict: verdictOK, Advice: []string{"Linux Cygnet " + version()}}
	path, err := exec.LookPath("ipsec")
	if err != nil {
		f.Verdict = verdictWarn
		f.Advice = append(f.Advice, "no ipsec command is found on the PATH; this one is in "+executableDir())
		return []finding{f}
	}
	out, err := exec.Command(path, "--versioncode").Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != version() {
		f.Verdict = verdictWarn
		f.Advice = append(f.Advice, fmt.Sprintf("%s on the PATH is another version (%s)", path, got))
	}
	return []finding{f}
}

func checkTun(context.Context, places) []finding {
	f := finding{Label: "Checking for the data plane (TUN devices)", Verdict: verdictOK}
	dev, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		f.Verdict = verdictFailed
		f.Advice = []string{err.Error(), "load the kernel module tun, or run as root"}
		return []finding{f}
	}
	dev.Close()
	return []finding{f}
}

func checkConfig(_ context.Context, at places) []finding {
	f := finding{Label: "Checking " + at.confFile(), Verdict: verdictOK}
	file := config.Load(at.conf)
	for _, p := range file.Errors {
		f.Verdict = verdictFailed
		f.Advice = append(f.Advice, p.Error())
	}
	for _, p := range file.Warnings {
		if f.Verdict == verdictOK {
			f.Verdict = verdictWarn
		}
		f.Advice = append(f.Advice, p.Error())
	}
	return []finding{f}
}

func checkSecrets(_ context.Context, at places) []finding {
	key := finding{Label: "Checking for private key (" + at.secrets() + ")", Verdict: verdictMissing,
		Advice: []string{"`ipsec newhostkey' makes one; connections with authby=secret need none"}}
	perm := finding{Label: "Checking owner and mode of " + at.secrets(), Verdict: verdictOK}
	secrets := config.LoadSecrets(at.conf, &config.Load(at.conf).Setup)
	for _, e := range secrets.Entries {
		if e.Kind == config.SecretPrivate {
			key.Verdict, key.Advice = verdictOK, nil
		} else if key.Verdict == verdictMissing {
			key.Verdict = verdictNA
		}
	}
	for _, p := range secrets.Errors {
		perm.Verdict = verdictFailed
		perm.Advice = append(perm.Advice, p.Error())
	}
	return []finding{key, perm}
}

func checkPluto(ctx context.Context, at places) []finding {
	running := finding{Label: "Checking that pluto is running", Verdict: verdictOK}
	if !answers(ctx, at) {
		running.Verdict, running.Advice = verdictFailed, []string{"`ipsec setup start' starts it"}
		return []finding{running}
	}
	found := []finding{running}
	for _, port := range []uint16{500, 4500} {
		f := finding{Label: fmt.Sprintf("  Pluto listening for IKE on udp %d", port), Verdict: verdictOK}
		if !listening(port) {
			f.Verdict = verdictFailed
			f.Advice = []string{"no socket has this port; does interfaces= in ipsec.conf name a device that is up?"}
		}
		found = append(found, f)
	}
	return found
}

// listening reports whether any UDP socket of this network namespace has the
// port, by the kernel's list.
func listening(port uint16) bool {
	suffix := fmt.Sprintf(":%04X", port)
	for _, table := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if fields := strings.Fields(line); len(fields) > 1 && strings.HasSuffix(fields[1], suffix) {
				return true
			}
		}
	}
	return false
}

func checkForwarding(context.Context, places) []finding {
	f := finding{Label: "Two or more interfaces found, checking IP forwarding", Verdict: verdictOK}
	if physicalInterfaces() < 2 {
		f.Verdict = verdictNA
		return []finding{f}
	}
	if readSysctl("net/ipv4/ip_forward") != "1" {
		f.Verdict = verdictFailed
		f.Advice = []string{"this machine forwards nothing: `sysctl -w net.ipv4.ip_forward=1', or forwardcontrol=yes in config setup"}
	}
	return []finding{f}
}

// physicalInterfaces counts interfaces that are up and have an address, other
// than loopback and our own devices.
func physicalInterfaces() int {
	links, err := net.Interfaces()
	if err != nil {
		return 0
	}
	n := 0
	for _, l := range links {
		addrs, err := l.Addrs()
		if err != nil || l.Flags&net.FlagLoopback != 0 || l.Flags&net.FlagUp == 0 || strings.HasPrefix(l.Name, "ipsec") {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
				n++
				break
			}
		}
	}
	return n
}

func checkRPFilter(context.Context, places) []finding {
	f := finding{Label: "Checking reverse path filters", Verdict: verdictOK}
	links, err := filepath.Glob("/proc/sys/net/ipv4/conf/ipsec*/rp_filter")
	if err != nil || len(links) == 0 {
		f.Verdict = verdictNA
		return []finding{f}
	}
	all := readSysctl("net/ipv4/conf/all/rp_filter")
	for _, l := range links {
		name := filepath.Base(filepath.Dir(l))
		if own := readSysctl("net/ipv4/conf/" + name + "/rp_filter"); own == "1" || all == "1" {
			f.Verdict = verdictWarn
			f.Advice = append(f.Advice, name+": strict filtering drops decrypted packets whose way back is another; `sysctl -w net.ipv4.conf.all.rp_filter=0'")
		}
	}
	return []finding{f}
}

func readSysctl(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
