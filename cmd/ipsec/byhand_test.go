package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const byHandConf = `version 2.0

config setup
	interfaces=%none

include ipsec.*.conf

conn samplesep
	left=192.0.2.1
	leftsubnet=10.1.0.0/24
	right=198.51.100.1
	rightsubnet=10.2.0.0/24
	also=samplesep-keys

conn ends
	left=192.0.2.1
	right=198.51.100.1
	auto=ignore

conn number
	spi=0x210

conn short
	also=ends
	spi=0x211
	esp=3des-md5-96
	espenckey=0x01234567
`

const byHandKeys = `conn samplesep-keys
	spi=0x200
	esp=3des-md5-96
	espenckey=0x01234567_89abcdef_02468ace_13579bdf_12345678_9abcdef0
	espauthkey=0x12345678_9abcdef0_2468ace0_13579bdf

conn transform
	ah=hmac-md5-96
	ahkey=0x12345678_9abcdef0_2468ace0_13579bdf
`

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// R10.3, R10.4 and freeswan.md 4.7: what would be done, with no daemon.
func TestManualShowonly(t *testing.T) {
	conf := gateway(t)
	put(t, filepath.Join(conf, "ipsec.conf"), byHandConf)
	put(t, filepath.Join(conf, "ipsec.siteA.conf"), byHandKeys)
	show := func(args ...string) result {
		return runIpsec(t, append([]string{"manual", "--showonly", "--iam", "192.0.2.1@ipsec0"}, args...)...)
	}
	apart := show("--up", "samplesep")
	if apart.code != 0 || !strings.Contains(apart.out, "--enckey 0x01234567_89abcdef_02468ace_13579bdf_12345678_9abcdef0") || !strings.Contains(apart.err, "example key") {
		t.Fatalf("%+v", apart)
	}
	if other := show("--other", "--up", "samplesep"); !strings.Contains(other.out, "--src 10.2.0.0/24 --dst 10.1.0.0/24 --said tun0x200@192.0.2.1") {
		t.Errorf("the other's: %+v", other)
	}
	if union := show("--union", "--up", "ends", "number", "transform"); !strings.Contains(union.out, "ipsec spi --said ah0x210@198.51.100.1 --src 192.0.2.1 --ah hmac-md5-96") {
		t.Errorf("union: %+v", union)
	}
	// Moved into its place, the text says the same.
	_, keys, _ := strings.Cut(strings.Split(byHandKeys, "\n\n")[0], "\n")
	put(t, filepath.Join(conf, "ipsec.conf"), strings.Replace(byHandConf, "\talso=samplesep-keys", keys, 1))
	if got := show("--up", "samplesep"); got.out != apart.out {
		t.Errorf("in place:\n%s\napart:\n%s", got.out, apart.out)
	}
}

// Each mistake is one line, with the exit code of the contract.
func TestByHandMistakes(t *testing.T) {
	conf := gateway(t)
	put(t, filepath.Join(conf, "ipsec.conf"), byHandConf)
	put(t, filepath.Join(conf, "ipsec.siteA.conf"), byHandKeys)
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"manual --up samplesep", 3, "manual: KLIPS is not running: `ipsec setup start' starts it"},
		{"manual samplesep", 2, "exactly one of --up, --down, --route and --unroute is needed"},
		{"manual --up --down samplesep", 2, "exclude each other"},
		{"manual --up", 2, "requires at least 1 arg"},
		{"manual --other --up samplesep", 2, "--other is for --showonly"},
		{"manual --showonly --iam 192.0.2.1@ipsec0 --up nobody", 5, `has no connection "nobody"`},
		{"manual --showonly --iam 192.0.2.1@ipsec0 --up short", 6, "ipsec.conf:27: espenckey: key of 32 bits, but 3des_cbc needs 192"},
		{"manual --showonly --iam 203.0.113.1@ipsec0 --up samplesep", 1, "cannot find interface for 192.0.2.1 or 198.51.100.1"},
		{"manual --showonly --iam fish --up samplesep", 2, "is not ADDRESS@DEVICE"},
		{"manual --showonly --up samplesep", 1, "no IPsec-enabled interfaces found"},
		{"manual --showonly --union --iam 192.0.2.1@ipsec0 --up ends nobody", 6, `did not find conn section(s) "nobody"`},
		{"eroute", 3, "is Pluto running?"},
		{"eroute --add --src 10.1.0.0/24 --dst 10.2.0.0/24", 2, "which SA?"},
		{"eroute --add --eraf inet6 --src 10.1.0.0/24 --dst 10.2.0.0/24 --said %drop", 2, "not an address of family inet6"},
		{"eroute --add --src 10.1.0.0/24 --dst 10.2.0.0/24 --dst-port 80 --said %drop", 2, "ports need --transport-proto tcp or udp"},
		{"eroute --add --src 10.1.0.0/24 --dst fish --said %drop", 2, `--dst: "fish" is not a net`},
		{"eroute --add --src 10.1.0.0/24 --dst 10.2.0.0/24 --said %fish", 2, "unknown shunt"},
		{"eroute --del --src 10.1.0.0/24 --dst 10.2.0.0/24 --said %drop", 2, "--del takes no SA"},
		{"eroute --add --clear", 2, "exclude each other"},
		{"eroute --src 10.1.0.0/24 --dst 10.2.0.0/24", 2, "which action?"},
		{"eroute --add --src 10.1.0.0/24 --dst 10.2.0.0/24 --af inet --edst 192.0.2.9 --spi 0x200 --proto fish", 2, `protocol "fish"`},
		{"eroute --add --src 10.1.0.0/24 --dst 10.2.0.0/24 --transport-proto tcp --dst-port https --said %drop", 3, "KLIPS is not running"},
		{"spi --said esp0x200@192.0.2.9 --src 192.0.2.1", 2, "exactly one of --esp, --ah, --comp, --ip4 and --ip6"},
		{"spi --src 192.0.2.1 --ip4", 2, "which SA?"},
		{"spi --said esp0x200@192.0.2.9 --src fish --esp 3des", 2, "--src:"},
		{"spi --said esp0x200@192.0.2.9 --src 192.0.2.1 --esp 3des --enckey 0x123", 2, "--enckey: odd number of hexadecimal digits"},
		{"spi --said tun0x200@192.0.2.9 --src 192.0.2.1 --ip4 --dst 192.0.2.8", 2, "is not the destination of"},
		{"spi --said tun0x200@192.0.2.9 --src 192.0.2.1 --ip6", 2, "not of that address family"},
		{"spi --af inet --edst 192.0.2.9 --spi 0x100000000 --proto esp --del", 2, "at most 32 bits"},
		{"spi --clear --said tun0x200@192.0.2.9", 2, "--clear takes no SA"},
		{"spigrp inet 192.0.2.9 0x200", 2, "an SA is four words"},
		{"spigrp --said tun0x200@192.0.2.9 inet 192.0.2.9 0x200 esp", 2, "name all SAs by --said or all by four words"},
		{"tncfg --attach --virtual ipsec0", 2, "--attach needs --virtual and --physical"},
		{"tncfg --detach --virtual ipsec0 --physical eth0", 2, "--detach needs --virtual alone"},
		{"tncfg --virtual ipsec0", 2, "which action?"},
		{"klipsdebug --set rcv --all", 2, "one change at a time"},
		{"klipsdebug --set rcv", 3, "KLIPS is not running"},
	} {
		got := runIpsec(t, strings.Fields(tc.args)...)
		first, _, _ := strings.Cut(got.err, "\n")
		if got.code != tc.code || !strings.Contains(first, tc.want) || got.out != "" {
			t.Errorf("ipsec %s: exit %d, %q on standard output, error %q; want exit %d, %q", tc.args, got.code, got.out, got.err, tc.code, tc.want)
		}
	}
}

// What --showonly prints are words that the commands understand.
func TestShownCommandsAreCommands(t *testing.T) {
	conf := gateway(t)
	put(t, filepath.Join(conf, "ipsec.conf"), byHandConf)
	put(t, filepath.Join(conf, "ipsec.siteA.conf"), byHandKeys)
	for _, op := range []string{"--up", "--down", "--unroute"} {
		shown := runIpsec(t, "manual", "--showonly", "--iam", "192.0.2.1@ipsec0", op, "samplesep")
		n := 0
		for line := range strings.Lines(shown.out) {
			words := strings.Fields(line)
			if words[0] != "ipsec" {
				continue
			}
			n++
			if got := runIpsec(t, words[1:]...); got.code != 3 {
				t.Errorf("%s: exit %d, %s", line, got.code, got.err)
			}
		}
		if n == 0 {
			t.Errorf("%s shows nothing: %+v", op, shown)
		}
	}
}

// R8.3: barf and its filters show no key.
func TestNoKeysInDumps(t *testing.T) {
	conf := gateway(t)
	put(t, filepath.Join(conf, "ipsec.conf"), byHandConf)
	put(t, filepath.Join(conf, "ipsec.siteA.conf"), byHandKeys)
	put(t, filepath.Join(conf, "ipsec.secrets"), "192.0.2.1 198.51.100.1 : PSK \"correct horse battery staple\"\n")
	dumps := map[string]string{}
	if os.Geteuid() == 0 {
		got := runIpsec(t, "barf", "--short")
		if got.code != 0 {
			t.Errorf("barf: exit %d, %s", got.code, got.err)
		}
		for _, section := range []string{"ipsec version", "ipsec eroute", "ipsec.conf", "ipsec.secrets", "plog", "date"} {
			if !strings.Contains(got.out, "_________________________ "+section+"\n") {
				t.Errorf("barf has no section %s", section)
			}
		}
		if !strings.Contains(got.out, "ipsec.siteA.conf") || !strings.Contains(got.out, "espenckey=[sums to ") {
			t.Errorf("barf's configuration:\n%s", got.out)
		}
		dumps["barf"] = got.out + got.err
	}
	for name, text := range map[string]string{"_keycensor": byHandKeys, "_secretcensor": "192.0.2.1 : PSK \"correct horse battery staple\"\n"} {
		root := newRoot()
		var out bytes.Buffer
		root.SetArgs([]string{name})
		root.SetIn(strings.NewReader(text))
		root.SetOut(&out)
		if err := root.Execute(); err != nil || !strings.Contains(out.String(), "[sums to ") {
			t.Errorf("%s: %v, %s", name, err, out.String())
		}
		dumps[name] = out.String()
	}
	for name, text := range dumps {
		for _, secret := range []string{"01234567_89abcdef", "12345678_9abcdef0", "correct horse"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %q", name, secret)
			}
		}
	}
}

func TestSinceStart(t *testing.T) {
	const log = "old\nStarting Pluto (Cygnet Version 1)\na\nStarting KLIPS (Cygnet Version 1)\nb\nc\n"
	if got := sinceStart(log); got != "Starting KLIPS (Cygnet Version 1)\nb\nc\n" {
		t.Errorf("got %q", got)
	}
	b := barf{short: true}
	long := strings.Repeat("line\n", shortLog+7)
	if got := b.shorten(long); !strings.HasPrefix(got, "(7 lines left out)\n") || strings.Count(got, "line\n") != shortLog-1 {
		t.Errorf("%d lines, %.40q", strings.Count(got, "line\n"), got)
	}
	if got := b.shorten("a\nb\n"); got != "a\nb\n" {
		t.Errorf("got %q", got)
	}
}
