package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cygnet/internal/rawkey"
	"cygnet/internal/whack"
)

// result is what a command line did.
type result struct {
	code     int
	out, err string
}

// runIpsec runs a command line on a gateway of its own, whose configuration
// directory it returns from gateway.
func runIpsec(t *testing.T, args ...string) result {
	t.Helper()
	var out, diag bytes.Buffer
	code := run(t.Context(), args, &out, &diag)
	return result{code, out.String(), diag.String()}
}

// gateway gives the test directories of its own.
func gateway(t *testing.T) (conf string) {
	t.Helper()
	dir := t.TempDir()
	for _, v := range []string{"IPSEC_CONFS", "IPSEC_RUNDIR", "IPSEC_STATEDIR"} {
		d := filepath.Join(dir, v)
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv(v, d)
	}
	return filepath.Join(dir, "IPSEC_CONFS")
}

// freeswan.md 8.3 item 6, R11.1.
// R11.4: --quick is accepted.
func TestRanbits(t *testing.T) {
	for args, want := range map[string]string{
		"ranbits 128":             `^0x[0-9a-f]{8}(_[0-9a-f]{8}){3}\n$`,
		"ranbits 192":             `^0x[0-9a-f]{8}(_[0-9a-f]{8}){5}\n$`,
		"ranbits --continuous 64": `^0x[0-9a-f]{16}\n$`,
		"ranbits 12":              `^0x[0-9a-f]{4}\n$`,
		"ranbits --bytes 3":       `^0x[0-9a-f]{6}\n$`,
		"ranbits --quick 8":       `^0x[0-9a-f]{2}\n$`,
	} {
		r := runIpsec(t, strings.Fields(args)...)
		if r.code != 0 || !regexp.MustCompile(want).MatchString(r.out) {
			t.Errorf("ipsec %s: exit %d, %q", args, r.code, r.out)
		}
	}
	if a, b := runIpsec(t, "ranbits", "256"), runIpsec(t, "ranbits", "256"); a.out == b.out {
		t.Error("two runs printed the same bits")
	}
}

func TestExitCodes(t *testing.T) {
	gateway(t)
	for args, want := range map[string]whack.Exit{
		"":                               whack.ExitDone,
		"--version":                      whack.ExitDone,
		"help exit-codes":                whack.ExitDone,
		"help auto":                      whack.ExitDone,
		"auto --help":                    whack.ExitDone,
		"auto --version":                 whack.ExitDone,
		"frobnicate":                     whack.ExitFailed,
		"--frobnicate":                   whack.ExitFailed,
		"ranbits":                        whack.ExitUsage,
		"ranbits 20001":                  whack.ExitFailed,
		"ranbits many":                   whack.ExitFailed,
		"rsasigkey 2047":                 whack.ExitFailed,
		"rsasigkey 1024":                 whack.ExitFailed,
		"auto":                           whack.ExitUsage,
		"auto --up":                      whack.ExitUsage,
		"auto --up --down west-east":     whack.ExitUsage,
		"auto --status west-east":        whack.ExitUsage,
		"auto --up west-east":            whack.ExitNotRunning,
		"auto west-east up":              whack.ExitNotRunning,
		"up west-east":                   whack.ExitNotRunning,
		"status":                         whack.ExitNotRunning,
		"eroute":                         whack.ExitNotRunning,
		"why west-east":                  whack.ExitNotRunning,
		"look --json":                    whack.ExitNotRunning,
		"setup status":                   whack.ExitNotRunning,
		"setup --status":                 whack.ExitNotRunning,
		"setup":                          whack.ExitUsage,
		"setup start stop":               whack.ExitUsage,
		"setup begin":                    whack.ExitUsage,
		"whack --status":                 whack.ExitFailed,
		"whack":                          whack.ExitUsage,
		"showhostkey":                    whack.ExitUsage,
		"showhostkey --left":             whack.ExitFailed,
		"showhostkey --left --txt @west": whack.ExitUsage,
	} {
		if r := runIpsec(t, strings.Fields(args)...); r.code != int(want) {
			t.Errorf("ipsec %s: exit %d, want %d\n%s%s", args, r.code, want, r.out, r.err)
		} else if want != whack.ExitDone && args != "setup status" && args != "setup --status" && r.err == "" {
			t.Errorf("ipsec %s: exit %d without a word", args, r.code)
		}
	}
}

// The variables that say where things are, and their defaults, can be found.
func TestPlacesAreDocumented(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"IPSEC_CONFS", "IPSEC_RUNDIR", "IPSEC_STATEDIR"} {
		t.Setenv(v, "")
		if !strings.Contains(runIpsec(t, "--help").out, v) || !strings.Contains(string(guide), v) {
			t.Errorf("nothing about %s", v)
		}
	}
	for _, dir := range []string{where().conf, where().run, where().state} {
		if !strings.Contains(runIpsec(t, "--help").out, "("+dir+")") || !strings.Contains(string(guide), "`"+dir+"`") {
			t.Errorf("nothing about %s", dir)
		}
	}
}

// Scripts cut the third word of the first line.
func TestVersionIsTheThirdWord(t *testing.T) {
	words := strings.Fields(runIpsec(t, "--version").out)
	if len(words) < 3 || words[2] != strings.TrimSpace(runIpsec(t, "--versioncode").out) {
		t.Errorf("%q", words)
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	for _, c := range newRoot().Commands() {
		if c.Short == "" {
			t.Errorf("ipsec %s says nothing about itself", c.Name())
		}
		if r := runIpsec(t, c.Name(), "--help"); r.code != 0 || !strings.Contains(r.out, c.Name()) {
			t.Errorf("ipsec %s --help: exit %d, %q", c.Name(), r.code, r.out)
		}
	}
}

func TestManualPagesAndCompletion(t *testing.T) {
	dir := t.TempDir()
	if r := runIpsec(t, "man", dir); r.code != 0 {
		t.Fatal(r.err)
	}
	for _, page := range []string{"man8/ipsec.8", "man8/ipsec-auto.8", "man8/ipsec-setup.8", "man8/ipsec-showhostkey.8", "man5/ipsec.conf.5", "man5/ipsec.secrets.5", "man7/ipsec-json.7"} {
		if b, err := os.ReadFile(filepath.Join(dir, page)); err != nil || !bytes.Contains(b, []byte(".SH")) {
			t.Errorf("%s: %v", page, err)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if r := runIpsec(t, "completion", shell); r.code != 0 || len(r.out) < 100 {
			t.Errorf("completion for %s: exit %d", shell, r.code)
		}
	}
}

// A host key of each kind goes in by newhostkey and comes out by showhostkey,
// in a file that nobody else could read at any time (R8.2).
func TestHostKeys(t *testing.T) {
	for kind, want := range map[string]string{
		"rsa":     "leftrsasigkey=0sAwEAA",
		"ecdsa":   "leftpubkey=0s",
		"ed25519": "leftpubkey=0s",
	} {
		conf := gateway(t)
		if r := runIpsec(t, "newhostkey", "--keytype", kind, "--bits", "2048", "--hostname", "west.example.org"); r.code != 0 {
			t.Fatalf("%s: %s", kind, r.err)
		}
		info, err := os.Stat(filepath.Join(conf, "ipsec.secrets"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%s: %v, %v", kind, info, err)
		}
		r := runIpsec(t, "showhostkey", "--left")
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Fatalf("%s: exit %d, %s%s", kind, r.code, r.out, r.err)
		}
		_, text, _ := strings.Cut(r.out, "key=")
		if _, err := rawkey.Parse(strings.TrimSpace(text)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if again := runIpsec(t, "newhostkey", "--bits", "2048"); again.code != int(whack.ExitFailed) {
			t.Errorf("%s: a second newhostkey overwrote or added: exit %d", kind, again.code)
		}
	}
}

func TestRSAKeyWithExponent3(t *testing.T) {
	gateway(t)
	r := runIpsec(t, "rsasigkey", "--e", "3", "--hostname", "old", "2048")
	if r.code != 0 || !strings.Contains(r.out, "#pubkey=0sAQ") || !strings.Contains(r.out, "PublicExponent: 0x03") {
		t.Fatalf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	file := filepath.Join(t.TempDir(), "old")
	if err := os.WriteFile(file, []byte(r.out), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := runIpsec(t, "rsasigkey", "--oldkey", file); again.code != 0 || again.out != r.out {
		t.Errorf("--oldkey prints something else: exit %d %s\n%s", again.code, again.err, again.out)
	}
}

// R6.1: nothing of the private half is shown.
func TestShowhostkeyShowsNothingPrivate(t *testing.T) {
	conf := gateway(t)
	if r := runIpsec(t, "newhostkey", "--bits", "2048", "--quiet"); r.code != 0 || r.err != "" {
		t.Fatalf("exit %d %s", r.code, r.err)
	}
	secrets, err := os.ReadFile(filepath.Join(conf, "ipsec.secrets"))
	if err != nil {
		t.Fatal(err)
	}
	private := regexp.MustCompile(`(?:Prime1|Prime2|PrivateExponent|Coefficient): 0x([0-9a-f]{32})`).FindAllSubmatch(secrets, -1)
	if len(private) != 4 {
		t.Fatalf("%d private fields found", len(private))
	}
	for _, form := range [][]string{{"--left"}, {"--right"}, {"--key"}, {"--txt", "192.0.2.1"}, {"--json"}} {
		r := runIpsec(t, append([]string{"showhostkey"}, form...)...)
		if r.code != 0 {
			t.Errorf("%v: %s", form, r.err)
		}
		for _, p := range private {
			if strings.Contains(r.out+r.err, string(p[1])) {
				t.Errorf("%v shows a private field", form)
			}
		}
	}
}
