package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cygnet/internal/check"
	"cygnet/internal/lab/labtest"
)

// freeswan.md 4.15, check 6: a rule that rewrites what a tunnel carries fails,
// one for the physical device alone does not, and what nobody can tell is N/A.
func TestVerifyNAT(t *testing.T) {
	conf := gateway(t)
	text := "version 2\nconn net\n\tleft=192.0.2.1\n\tleftsubnet=10.1.0.0/24\n\tright=198.51.100.1\n\trightsubnet=10.2.0.0/24\n\tauthby=secret\n\tauto=add\n"
	if err := os.WriteFile(filepath.Join(conf, "ipsec.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	inside := netip.MustParsePrefix("10.1.0.0/24")
	for name, c := range map[string]struct {
		rules []check.NATRule
		want  string
	}{
		"unknown":            {nil, verdictNA},
		"none":               {[]check.NATRule{}, verdictOK},
		"everywhere":         {[]check.NATRule{{Source: inside, Text: "masquerade"}}, verdictFailed},
		"into ipsec0":        {[]check.NATRule{{Out: "ipsec0", Text: "masquerade"}}, verdictFailed},
		"physical only":      {[]check.NATRule{{Source: inside, Out: "eth0", Text: "masquerade"}}, verdictOK},
		"other networks":     {[]check.NATRule{{Source: netip.MustParsePrefix("10.9.0.0/24"), Text: "masquerade"}}, verdictOK},
		"behind an excepted": {[]check.NATRule{{Dest: netip.MustParsePrefix("10.2.0.0/24"), Exempt: true}, {Source: inside, Text: "masquerade"}}, verdictOK},
	} {
		f := natFinding(where(), c.rules)
		if f.Verdict != c.want || c.want == verdictFailed && !strings.Contains(strings.Join(f.Advice, " "), `"masquerade" rewrites packets from 10.1.0.0/24 to 10.2.0.0/24`) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// Verdicts are coloured on a terminal, and nowhere else.
func TestVerifyColours(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	labtest.Need(t, err == nil, "a terminal (/dev/ptmx)")
	defer terminal.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var o verifyOrder
	if !o.colours(&answer{Writer: terminal}) || o.colours(&answer{Writer: file}) || o.colours(&answer{Writer: &strings.Builder{}}) {
		t.Error("colours are not where the terminal is")
	}
}
