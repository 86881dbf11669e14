package interop

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
)

// A bad input and what the real command says to it. The configuration is a
// sound one with one change.
type badInput struct {
	name string
	conf string // the connection bad, and whatever else stands in the file
	args string // of ipsec
	exit int
	want string // the one line, a regular expression
	// mode of ipsec.secrets, and more files
	secretsMode os.FileMode
	stopped     bool // when nothing runs
	files       map[string]string
}

const (
	secretsLine = "101.101.101.101 202.202.202.202 : PSK \"" + psk + "\"\n"
	badEnds     = "conn bad\n\tleft=101.101.101.101\n\tright=202.202.202.202\n\tauthby=secret\n"
	badKeys     = "conn bad\n\tleft=101.101.101.101\n\tright=202.202.202.202\n\tspi=0x201\n\tesp=aes128-sha1\n\tespenckey=0x00112233445566778899aabbccddeeff\n\tespauthkey=0x00112233445566778899aabbccddeeff00112233\n"
)

var badInputs = []badInput{
	{name: "unknown key", conf: badEnds + "\tleftsubnt=10.0.0.0/8\n", args: "auto --add bad", exit: 6,
		want: `ipsec.conf:\d+: leftsubnt: unknown parameter name "leftsubnt".*leftsubnet`},
	{name: "loop of also=", conf: badEnds + "\talso=one\nconn one\n\talso=two\nconn two\n\talso=one\n", args: "auto --add bad", exit: 6,
		want: `ipsec.conf:\d+: also: .*one`},
	{name: "also= of nothing", conf: badEnds + "\talso=nowhere\n", args: "auto --add bad", exit: 6, want: `ipsec.conf:\d+: also: .*nowhere`},
	{name: "include of nothing", conf: "include /nowhere/ipsec.*.conf\n" + badEnds + "\talso=keys\n", args: "auto --add bad", exit: 6, want: `ipsec.conf:\d+: also: .*keys`},
	{name: "twice the same key", conf: badEnds + "\tauto=add\n\tauto=route\n", args: "auto --add bad", exit: 6, want: `ipsec.conf:\d+: auto: duplicated parameter "auto".*ipsec.conf:\d+`},
	{name: "mask with holes", conf: badEnds + "\tleftsubnet=10.0.0.0/255.0.255.0\n", args: "auto --add bad", exit: 6, want: `ipsec.conf:\d+: leftsubnet: .*255\.0\.255\.0`},
	{name: "no such word", conf: badEnds + "\tauto=perhaps\n", args: "auto --add bad", exit: 6, want: `ipsec.conf:\d+: auto: .*perhaps`},
	{name: "broken cipher", conf: badEnds + "\tesp=des-md5\n", args: "auto --add bad", exit: 6, want: `ipsec.conf:\d+: esp: .*des`},
	{name: "cipher without authentication", conf: badEnds + "\tesp=null-none\n", args: "auto --add bad", exit: 6, want: `ipsec.conf:\d+: esp: .*`},
	{name: "misspelt cipher", conf: badEnds + "\tike=aes265-sha2_256-modp2048\n", args: "auto --add bad", exit: 6, want: `ipsec.conf:\d+: ike: .*aes265`},
	{name: "bad public key", conf: strings.Replace(badEnds, "secret", "rsasig", 1) + "\tleftrsasigkey=0sAQOx\n", args: "auto --add bad", exit: 6, want: `ipsec.conf:\d+: leftrsasigkey: .*`},
	{name: "no such connection", conf: badEnds, args: "auto --add worse", exit: 5, want: `ipsec.conf has no connection "worse"`},
	{name: "no end is ours", conf: strings.Replace(badEnds, "101.101.101.101", "192.0.2.77", 1), args: "auto --up bad", exit: 5, want: `no connection named "bad"`},

	{name: "SPI that is in use", conf: strings.Replace(badKeys, "0x201", "0x200", 1), args: "manual --up bad", exit: 6, want: `ipsec.conf:\d+: spi: "bad": tun0x200@202.202.202.202: SA already in use.*"hand".*\(give each connection its own, from 0x100 to 0xfff\)`},
	{name: "reserved SPI", conf: strings.Replace(badKeys, "0x201", "0x80", 1), args: "manual --up bad", exit: 6, want: `ipsec.conf:\d+: spi: .*0x100 to 0xfff`},
	{name: "automatic SPI", conf: strings.Replace(badKeys, "0x201", "0x1000", 1), args: "manual --up bad", exit: 6, want: `ipsec.conf:\d+: spi: .*0x100 to 0xfff`},
	{name: "key of the wrong length", conf: strings.Replace(badKeys, "espauthkey=0x00112233", "espauthkey=0x", 1), args: "manual --up bad", exit: 6, want: `ipsec.conf:\d+: espauthkey: key of 128 bits, but hmac_sha1_96 needs 160 \(ipsec ranbits makes keys\)`},
	{name: "no authentication by hand", conf: strings.Replace(badKeys, "aes128-sha1", "aes128", 1), args: "manual --up bad", exit: 6, want: `ipsec.conf:\d+: esp: "aes128" has no authentication.*\(.*\)`},

	{name: "secrets that others may read", conf: badEnds, args: "auto --rereadsecrets", exit: 6, secretsMode: 0o644, want: `ipsec.secrets.*644.*chmod`},
	{name: "secret without a quote", conf: badEnds, args: "auto --rereadsecrets", exit: 6, want: `ipsec.secrets:2: .*`,
		files: map[string]string{"ipsec.secrets": secretsLine + "101.101.101.101 202.202.202.203 : PSK \"no end\n"}},
	{name: "secret of the manual", conf: badEnds, args: "setup restart", exit: 6, want: `ipsec.secrets:1: .*`,
		files: map[string]string{"ipsec.secrets": "101.101.101.101 202.202.202.202 : PSK \"jxTR1lnmSjuj33n4W51uW3kTR55luUmSmnlRUuWnkjRj3UuTV4T3USSu23Uk55nWu5TkTUnjT\"\n"}},
	{name: "interface that is not there", conf: badEnds, args: "setup start", exit: 1, want: `interfaces= names ipsec0=eth9, but there is no device eth9`, stopped: true,
		files: map[string]string{"setup": "\tinterfaces=\"ipsec0=eth9\"\n\tinterfaces-optional=no\n"}},
	{name: "two config setup", conf: "config setup\n\tuniqueids=no\n" + badEnds, args: "setup restart", exit: 6, want: `ipsec.conf:\d+: duplicate config section`},
	{name: "unknown key of setup", conf: badEnds, args: "setup restart", exit: 6, want: `ipsec.conf:\d+: interface: unknown parameter name "interface".*interfaces`,
		files: map[string]string{"setup": "\tinterface=%defaultroute\n"}},
}

// Issue 3: each bad input is one line with file, line, key and mend; it has the
// exit code of the contract, and changes nothing of what is at work.
func TestBadInputs(t *testing.T) {
	l := labtest.New(t, "bad")
	if err := lab.BuildManual(l, nil); err != nil {
		t.Fatal(err)
	}
	g, err := lab.NewGateway(l.Host("west"), labtest.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	good := strings.NewReplacer("conn bad", "conn good", "authby=secret\n", "authby=secret\n\tauto=route\n\trightsubnet=10.20.0.0/16\n").Replace(badEnds) +
		strings.NewReplacer("conn bad", "conn hand", "0x201", "0x200", "\tspi", "\tauto=manual\n\trightsubnet=10.30.0.0/16\n\tspi").Replace(badKeys)
	write := func(b badInput) {
		t.Helper()
		setup := "\tinterfaces=%defaultroute\n"
		if s, ok := b.files["setup"]; ok {
			setup = s
		}
		files := map[string]string{"ipsec.secrets": secretsLine}
		for name, text := range b.files {
			files[name] = text
		}
		files["ipsec.conf"] = "version 2.0\nconfig setup\n\tlogfile=" + g.Log() + "\n" + setup + good + b.conf
		delete(files, "setup")
		for name, text := range files {
			if err := g.Write(name, text); err != nil {
				t.Fatal(err)
			}
		}
		mode := b.secretsMode
		if mode == 0 {
			mode = 0o600
		}
		if err := os.Chmod(filepath.Join(g.Confs(), "ipsec.secrets"), mode); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(args string) lab.Result {
		t.Helper()
		r, err := g.Ipsec(t.Context(), strings.Fields(args)...)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	state := func() string {
		out := ""
		for _, look := range []string{"eroute", "spi", "auto --status", "setup status"} {
			out += ask(look).Output()
		}
		return regexp.MustCompile(`in \d+s|addtime\(\d+,\d+,\d+\)|pid \d+`).ReplaceAllString(out, "")
	}
	write(badInput{})
	if r := ask("setup start"); r.Exit != 0 {
		t.Fatalf("start: %s", r.Output())
	}
	before := state()
	for _, b := range badInputs {
		t.Run(b.name, func(t *testing.T) {
			before := before
			if b.stopped {
				ask("setup stop")
				before = state()
				defer ask("setup start")
			}
			write(b)
			r := ask(b.args)
			var lines []string
			for line := range strings.Lines(r.Stderr) {
				if !strings.HasPrefix(line, "Starting Cygnet") { // what it does is not what is wrong
					lines = append(lines, strings.TrimSpace(line))
				}
			}
			t.Logf("ipsec %s: exit %d\n%s", b.args, r.Exit, r.Output())
			if r.Exit != b.exit {
				t.Errorf("exit code %d, not %d", r.Exit, b.exit)
			}
			if len(lines) != 1 || !regexp.MustCompile(b.want).MatchString(lines[0]) {
				t.Errorf("%d lines, expected one like %s", len(lines), b.want)
			}
			write(badInput{})
			if after := state(); after != before {
				t.Errorf("something has changed:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}
