package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/tools/txtar"

	"cygnet/internal/config"
	"cygnet/internal/whack"
)

// defined is the section that a whack command line makes.
func defined(t *testing.T, name string, words []string) string {
	t.Helper()
	c := &cobra.Command{}
	w := newWhackConn(c)
	if err := c.ParseFlags(words); err != nil {
		t.Fatalf("%q: %v", words, err)
	}
	text, err := w.section(name)
	if err != nil {
		t.Fatalf("%q: %v", words, err)
	}
	return text
}

// What auto --showonly prints of a connection defines the same connection, for
// every one in the examples of package config.
func TestWhackSaysTheSame(t *testing.T) {
	files, err := filepath.Glob("../../internal/config/testdata/conf/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	n := 0
	for _, name := range files {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fs := config.MapFS{Files: map[string]string{}}
		for _, f := range a.Files {
			fs.Files[f.Name] = string(f.Data)
		}
		for _, c := range config.Parse(fs, "ipsec.conf").Conns {
			if c.Implicit || c.Manual.SPI != 0 || c.Manual.SPIBase != 0 {
				continue
			}
			text := defined(t, c.Name, connWords(c))
			f := config.ParseText("whack", text)
			again := f.Conn(c.Name)
			if again == nil {
				t.Errorf("%s: %s: %v\n%s", filepath.Base(name), c.Name, f.Errors, text)
				continue
			}
			n++
			if got, want := again.String(), c.String(); got != want {
				t.Errorf("%s: %s by\n%q\nis\n%s, not\n%s", filepath.Base(name), c.Name, connWords(c), got, want)
			}
		}
	}
	if n < 90 {
		t.Errorf("only %d connections were tried", n)
	}
}

// R20.3: AH alone by whack; R20.4: auth=ah is both, as auto --showonly shows.
func TestWhackConnection(t *testing.T) {
	l := listen(t)
	if err := os.WriteFile(filepath.Join(where().conf, "ipsec.conf"), []byte("version 2\nconn both\n\tleft=192.0.2.1\n\tright=198.51.100.1\n\tkeyexchange=ikev1\n\tauth=ah\n\tauthby=secret\n\tleftid=\"C=CH, CN=west\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := runIpsec(t, "auto", "--showonly", "--add", "both")
	want := `ipsec whack --name both --host 192.0.2.1 --id 'C=CH, CN=west' --to --host 198.51.100.1 --ikev1 --psk --tunnel --encrypt --authenticate --pfs ` +
		"--ikelifetime 3600 --ipseclifetime 28800 --rekeymargin 540 --rekeyfuzz 100 --keyingtries 0\n"
	if r.code != 0 || len(l.last()) != 0 {
		t.Fatalf("exit %d, %s", r.code, r.err)
	}
	if r.out != want {
		t.Errorf("got  %swant %s", r.out, want)
	}
	if r := runIpsec(t, "auto", "--show", "--up", "both"); r.code != 0 || r.out != "ipsec whack --name both --initiate\n" || len(l.last()) != 1 {
		t.Errorf("--show: exit %d, %q", r.code, r.out)
	}
	if r := runIpsec(t, "auto", "--showonly", "--add", "none"); r.code != int(whack.ExitNoConn) {
		t.Errorf("no such connection: exit %d, %s", r.code, r.err)
	}

	ah := "--name x --psk --authenticate --tunnel --host 192.0.2.1 --client 10.1.0.0/24 --to --host 198.51.100.1 --client 10.2.0.0/24"
	if text := defined(t, "x", strings.Fields(ah)[2:]); !strings.Contains(text, "\tphase2=\"ah\"\n") || !strings.Contains(text, "\tpfs=\"no\"\n") || !strings.Contains(text, "\tkeyingtries=\"3\"\n") {
		t.Errorf("AH alone is\n%s", text)
	}
	for flags, want := range map[string]whack.Op{"": whack.OpAdd, " --delete": whack.OpReplace} {
		if r := runIpsec(t, append([]string{"whack"}, strings.Fields(ah+flags)...)...); r.code != 0 {
			t.Errorf("exit %d, %s", r.code, r.err)
		}
		got := l.last()
		if len(got) != 1 || got[0].Op != want || got[0].Args.Name != "x" {
			t.Fatalf("the daemon was asked %+v", got)
		}
		if _, err := os.Stat(got[0].Args.Config); !os.IsNotExist(err) {
			t.Errorf("%s is left behind: %v", got[0].Args.Config, err)
		}
	}
	for flags, want := range map[string]string{
		"--psk --encrypt --host 192.0.2.1 --to --host 198.51.100.1":                               "needs a --name",
		"--name x --psk --tunnel --host 192.0.2.1 --to --host 198.51.100.1":                       "neither --encrypt nor --authenticate",
		"--name x --psk --encrypt --tunnel --host 192.0.2.1":                                      `no "right" parameter`,
		"--name x --psk --encrypt --tunnel --host 192.0.2.1 --to --host 198.51.100.1 --to --id x": "stands once",
		"--name x --psk --encrypt --tunnel --host 192.0.2.1 --to --host 198.51.100.1 --set esp":   "not KEY=VALUE",
		"--name x --psk --encrypt --tunnel --host 192.0.2.1 --to --host 198.51.100.1 --set es=1":  "unknown parameter",
	} {
		if r := runIpsec(t, append([]string{"whack"}, strings.Fields(flags)...)...); r.code == 0 || !strings.Contains(r.err, want) || len(l.last()) != 0 {
			t.Errorf("%s: exit %d, %s", flags, r.code, r.err)
		}
	}
}

func TestShellWord(t *testing.T) {
	for w, want := range map[string]string{"10.1.0.0/24": "10.1.0.0/24", "@west": "@west", "": "''", "it's": `'it'\''s'`, "a b": "'a b'", "$(reboot)": "'$(reboot)'", "a;b": "'a;b'"} {
		if got := shellWord(w); got != want {
			t.Errorf("%q: %s, want %s", w, got, want)
		}
	}
}
