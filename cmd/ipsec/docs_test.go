package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// What the manual asks of documentation is shown by the pages themselves: the
// advice stands under its heading, and every command in them is one of ours.

var (
	indented = regexp.MustCompile(`^(?: {4,}|\t)(?:\S+# )?(ipsec .*)$`)
	spanned  = regexp.MustCompile("`(ipsec [a-z][^`]*)`")
)

// commandsIn lists the command lines of ours that a page shows, in code and in
// examples.
func commandsIn(page string) []string {
	var list []string
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, "\n")
		if m := indented.FindStringSubmatch(line); m != nil {
			list = append(list, m[1])
			continue
		}
		for _, m := range spanned.FindAllStringSubmatch(line, -1) {
			list = append(list, m[1])
		}
	}
	return list
}

// exists checks that a command line names a command of the family, and options
// that this command has.
func exists(root *cobra.Command, line string) string {
	words := strings.Fields(line)[1:]
	for i, w := range words { // what a shell would take for itself ends it
		if strings.ContainsAny(w, ">|;&") {
			words = words[:i]
			break
		}
	}
	alternatives := strings.Split(words[0], "|") // up|down
	for _, a := range alternatives {
		c, _, err := root.Find([]string{a})
		if err != nil || c == root && !strings.HasPrefix(a, "--") {
			return "there is no command " + a
		}
		for _, w := range words[1:] {
			flag, ok := strings.CutPrefix(w, "--")
			if !ok || flag == "" || c.DisableFlagParsing {
				continue
			}
			for name := range strings.SplitSeq(flag, "|--") {
				name, _, _ = strings.Cut(name, "=")
				if sub, _, err := root.Find([]string{a, words[1]}); err == nil && sub.Flags().Lookup(name) != nil {
					continue
				}
				if c.Flags().Lookup(name) == nil && c.PersistentFlags().Lookup(name) == nil {
					return "ipsec " + a + " has no option --" + name
				}
			}
		}
	}
	return ""
}

func TestDocumentationNamesRealCommands(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	root, n := newRoot(), 0
	root.InitDefaultHelpCmd()
	for _, page := range append(pages, "../../README.md", "../../CONTRIBUTING.md") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range commandsIn(string(b)) {
			n++
			if why := exists(root, line); why != "" {
				t.Errorf("%s: `%s`: %s", filepath.Base(page), line, why)
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d commands were found in the documentation", n)
	}
	for _, wrong := range []string{"ipsec frobnicate", "ipsec auto --frobnicate x", "ipsec setup --boom"} {
		if exists(root, wrong) == "" {
			t.Errorf("%s is taken for a command", wrong)
		}
	}
}

// section is what stands under a heading, down to the next of its level or above.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	lines := strings.Split(page, "\n")
	i := slices.IndexFunc(lines, func(l string) bool {
		return strings.HasPrefix(l, "#") && strings.TrimSpace(strings.TrimLeft(l, "#")) == heading
	})
	if i < 0 {
		t.Errorf("there is no section %q", heading)
		return ""
	}
	level := len(lines[i]) - len(strings.TrimLeft(lines[i], "#"))
	end := slices.IndexFunc(lines[i+1:], func(l string) bool {
		return strings.HasPrefix(l, "#") && len(l)-len(strings.TrimLeft(l, "#")) <= level
	})
	if end < 0 {
		end = len(lines) - i - 1
	}
	return strings.Join(lines[i:i+1+end], "\n")
}

// R7.1 (its synonyms), R7.10, R10.13, R11.6, R12.20, R19.2, R20.8: the advice of the manual that
// is no behaviour of ours stands in the operator's guide.
func TestGuideHasTheAdvice(t *testing.T) {
	b, err := os.ReadFile("../../docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	guide := string(b)
	for _, x := range []struct {
		heading string
		says    []string
	}{
		{"Shared secrets or public keys", []string{"pre-shared key", "passphrase", "never encrypts anything", "uniqueids="}},
		{"Moving secrets (R7.10)", []string{"No command here sends a secret", "scp -p", "gpg --armor --encrypt", "in your own hand", "remove what is left"}},
		{"If you rely on keys in files (R10.13)", []string{"nothing else runs on it", "Backups", "lock them up", "display", "X session", "SSH or OpenPGP"}},
		{"Files with keys", []string{"umask 177", "shred -u temp", "umask 022", "remove them when the keys are in place"}},
		{"At boot", []string{"systemctl disable ipsec", "update-rc.d ipsec disable", "ipsec setup status"}},
		{"The log", []string{"plutodebug=", "a second", "syslog=", "dumpdir="}},
		{"Tunnels that do not encrypt", []string{"security from end to end", "their own\nmachines", "OpenPGP, TLS or SSH"}},
		{"Changing a key (R6.7)", []string{"leftrsasigkey2=", "ipsec auto --rereadsecrets", "newhostkey"}},
	} {
		text := section(t, guide, x.heading)
		for _, words := range x.says {
			if !strings.Contains(strings.ReplaceAll(text, "\n", " "), strings.ReplaceAll(words, "\n", " ")) {
				t.Errorf("%s: nothing about %q", x.heading, words)
			}
		}
	}
}
