package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/config"
	"cygnet/internal/whack"
)

func newBarf() *cobra.Command {
	var b barf
	c := &cobra.Command{
		Use:   "barf [--short]",
		Short: "Print everything that helps to find a fault, with keys censored",
		Long: `barf prints the state of the system, its configuration and its logs in one text
for whoever helps. Keys and secrets are replaced by what only tells equal ones
from different ones within this text. A section that cannot be made says why,
and the next follows.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Geteuid() != 0 {
				return fail(whack.ExitPermission, "permission denied (must be superuser)")
			}
			b.ctx, b.at, b.out = cmd.Context(), where(), cmd.OutOrStdout()
			b.censor = censor(b.stable)
			b.all()
			return nil
		},
	}
	c.Flags().BoolVar(&b.short, "short", false, "at most 500 lines of each log")
	c.Flags().BoolVar(&b.stable, "stable", false, "censor as FreeS/WAN did, so that several dumps can be compared; short secrets can be guessed from that")
	return c
}

// censor has a key of its own, so that its sums tell nothing outside one text.
func censor(stable bool) config.Censor {
	if stable {
		return config.StableCensor()
	}
	key := make([]byte, 32)
	rand.Read(key) // does not fail; it would end the process
	return config.NewCensor(key)
}

// shortLog is how many lines of a log --short leaves.
const shortLog = 500

type barf struct {
	short, stable bool
	ctx           context.Context
	at            places
	out           io.Writer
	censor        config.Censor
}

// all prints the sections in the order of FreeS/WAN's barf.
func (b *barf) all() {
	for _, words := range []string{"version", "eroute", "spi", "spigrp", "tncfg", "klipsdebug"} {
		b.ipsec(words)
	}
	b.command("ip -s route", "ip", "route", "show", "table", "all")
	b.ipsec("auto", "--status")
	b.ipsec("auto", "--listall")
	b.command("ip -s addr", "ip", "-s", "addr")
	b.ipsec("verify")
	b.section("ipsec --directory", b.ourselves)
	b.file("/etc/hosts")
	b.command("hostname", "hostname")
	b.file("/proc/uptime")
	b.command("ps", "ps", "alxww")
	b.section("ipsec.conf", b.conf)
	b.section("ipsec.secrets", b.secrets)
	b.policies()
	for _, name := range []string{"/proc/net/dev", "/proc/sys/net/ipv4/ip_forward"} {
		b.file(name)
	}
	b.section("rp_filter", reversePaths)
	b.file("/proc/version")
	b.command("nft list ruleset", "nft", "list", "ruleset")
	for _, name := range []string{"/proc/modules", "/proc/meminfo", "/etc/syslog.conf", "/etc/rsyslog.conf", "/etc/resolv.conf"} {
		b.file(name)
	}
	b.section("plog", b.log)
	b.section("date", func() (string, error) { return time.Now().Format(time.UnixDate) + "\n", nil })
}

// section prints a line with its name and what make says; an error is part of
// the text.
func (b *barf) section(name string, make func() (string, error)) {
	fmt.Fprintf(b.out, "_________________________ %s\n", name)
	text, err := make()
	io.WriteString(b.out, text)
	if text != "" && !strings.HasSuffix(text, "\n") {
		fmt.Fprintln(b.out)
	}
	if err != nil {
		fmt.Fprintf(b.out, "(%v)\n", err)
	}
}

// ipsec prints what a command of ours says.
func (b *barf) ipsec(words ...string) {
	b.section("ipsec "+strings.Join(words, " "), func() (string, error) {
		var out bytes.Buffer
		if words[0] == "version" {
			return versionText() + "\n", nil
		}
		run(b.ctx, words, &out, &out)
		return out.String(), nil
	})
}

func (b *barf) command(title string, argv ...string) {
	b.section(title, func() (string, error) {
		ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
		return string(out), err
	})
}

func (b *barf) file(name string) {
	b.section(name, func() (string, error) {
		text, err := os.ReadFile(name)
		return string(text), err
	})
}

// ourselves is where the command is, and what lies beside it.
func (b *barf) ourselves() (string, error) {
	dir := executableDir()
	var out strings.Builder
	fmt.Fprintln(&out, dir)
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), "ipsec") {
			fmt.Fprintf(&out, "%s %d %s %s\n", info.Mode(), info.Size(), info.ModTime().Format(time.DateTime), e.Name())
		}
	}
	return out.String(), err
}

// conf is the configuration with what it includes, censored.
func (b *barf) conf() (string, error) {
	text, problems := config.Expand(config.OS{}, b.at.confFile())
	var errs []error
	for _, p := range problems {
		errs = append(errs, p)
	}
	return b.censor.Conf(text), errors.Join(errs...)
}

func (b *barf) secrets() (string, error) {
	text, err := os.ReadFile(b.at.secrets())
	if err != nil {
		return "", err
	}
	return b.censor.Secrets(b.at.secrets(), string(text)), nil
}

func (b *barf) policies() {
	names, err := filepath.Glob(filepath.Join(b.at.conf, "ipsec.d", "policies", "*"))
	if err != nil || len(names) == 0 {
		return
	}
	for _, n := range names {
		b.file(n)
	}
}

func reversePaths() (string, error) {
	names, err := filepath.Glob("/proc/sys/net/ipv4/conf/*/rp_filter")
	var out strings.Builder
	for _, n := range names {
		value, rerr := os.ReadFile(n)
		if rerr != nil {
			err = rerr
			continue
		}
		fmt.Fprintf(&out, "%s: %s", n, value)
	}
	return out.String(), err
}

// log is the daemon's log since its last start, from the file where the
// configuration or a start without a journal puts it.
func (b *barf) log() (string, error) {
	setup := config.Load(b.at.conf).Setup
	name := setup.LogFile
	if name == "" {
		name = filepath.Join(b.at.run, "pluto.log")
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && setup.LogFile == "" {
		ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
		defer cancel()
		text, err = exec.CommandContext(ctx, "journalctl", "-q", "-b", "-t", "pluto").Output()
	}
	return b.shorten(sinceStart(string(text))), err
}

// sinceStart cuts a log before the last line that tells of a start.
func sinceStart(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.Contains(lines[i], "Starting Pluto (") || strings.Contains(lines[i], "Starting KLIPS (") {
			return strings.Join(lines[i:], "")
		}
	}
	return text
}

func (b *barf) shorten(text string) string {
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	if !b.short || len(lines) <= shortLog {
		return text
	}
	return fmt.Sprintf("(%d lines left out)\n", len(lines)-shortLog) + strings.Join(lines[len(lines)-shortLog:], "")
}
