package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"cygnet/internal/config"
	"cygnet/internal/lab/labtest"
	"cygnet/internal/whack"
)

func helpOn(t *testing.T, topic string) (text string, code int) {
	t.Helper()
	var out, diag bytes.Buffer
	code = run(context.Background(), []string{"help", topic}, &out, &diag)
	return out.String() + diag.String(), code
}

// Every parameter that the reader of ipsec.conf knows is in the page, once, and
// can be asked for by each of its names, with left or right.
func TestHelpOnParameters(t *testing.T) {
	conf, code := helpOn(t, "ipsec.conf")
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, conf)
	}
	total := 0
	p := confPage()
	for _, s := range p.parts {
		if s.heading == "" || len(s.text)+len(s.items) == 0 {
			t.Errorf("part %q is empty", s.heading)
		}
		total += len(s.items)
	}
	if want := len(config.Keywords()); total != want {
		t.Errorf("%d of %d parameters are in the page", total, want)
	}
	for _, kind := range []string{"config", "conn", "ca"} {
		for _, name := range config.KeywordNames(kind) {
			text, code := helpOn(t, name+"=")
			if code != 0 || !strings.Contains(text, " in "+sectionTitle(kind)) {
				t.Errorf("ipsec help %s=: exit %d, %q", name, code, text)
			}
		}
	}
	if text, code := helpOn(t, "keylife"); code != 0 || !strings.Contains(text, "salifetime=") || !strings.Contains(text, "Default: 8h.") {
		t.Errorf("keylife: exit %d, %q", code, text)
	}
	if text, _ := helpOn(t, "auto"); !strings.Contains(text, "--rereadsecrets") {
		t.Errorf("the command auto is not explained before the parameter: %q", text)
	}
	if text, code := helpOn(t, "frobnicate="); code != int(whack.ExitUsage) {
		t.Errorf("unknown parameter: exit %d, %q", code, text)
	}
}

// R7.1: the page of ipsec.secrets names the synonyms of a shared secret.
func TestHelpOnSecrets(t *testing.T) {
	text, code := helpOn(t, "ipsec.secrets")
	text = strings.Join(strings.Fields(text), " ")
	for _, words := range []string{"pre-shared key", "passphrase", "never encrypts anything", "mode 0600"} {
		if code != 0 || !strings.Contains(text, words) {
			t.Errorf("exit %d, nothing about %q", code, words)
		}
	}
}

// The form of every --json that reads is in the page, and notes are about keys
// that exist.
func TestHelpOnJSON(t *testing.T) {
	text, code := helpOn(t, "json")
	if code != 0 {
		t.Fatalf("exit %d", code)
	}
	// What the contract names; policy, why and leases are of the same kind.
	for _, c := range []string{"status", "auto --status", "eroute", "spi", "look", "policy", "verify", "showhostkey", "trafficstatus"} {
		if !slices.ContainsFunc(documents, func(d document) bool {
			return slices.Contains(strings.Split(d.commands, ", "), "ipsec "+c)
		}) {
			t.Errorf("nothing about ipsec %s", c)
		}
	}
	p := jsonPage()
	for _, d := range documents {
		i := slices.IndexFunc(p.parts, func(s part) bool { return s.heading == d.commands })
		drawn := strings.Join(p.parts[i].example, "\n")
		for _, n := range d.notes {
			for key := range strings.SplitSeq(n.term, ", ") {
				for word := range strings.SplitSeq(strings.ReplaceAll(key, "[]", ""), ".") {
					if !strings.Contains(drawn, " "+word+": ") && !strings.Contains(drawn, " "+word+"?: ") {
						t.Errorf("%s: there is no key %q", d.commands, word)
					}
				}
			}
		}
	}
	// One document against its drawing, key by key.
	b, err := json.Marshal(whack.Eroutes{Schema: 1, Eroutes: []whack.Eroute{{
		Src: netip.MustParsePrefix("10.1.0.0/16"), Proto: 6, SrcPort: 1, DstPort: 2, Bundle: []string{"x"}, Owner: "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	var found struct{ Eroutes []map[string]any }
	if err := json.Unmarshal(b, &found); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(p.parts, func(s part) bool { return s.heading == "ipsec eroute" })
	drawn := strings.Join(p.parts[i].example, "\n")
	for key := range found.Eroutes[0] {
		if !strings.Contains(drawn, " "+key+": ") && !strings.Contains(drawn, " "+key+"?: ") {
			t.Errorf("eroute: key %q is not drawn:\n%s", key, drawn)
		}
	}
	if n := strings.Count(drawn, ": "); n != len(found.Eroutes[0])+2 {
		t.Errorf("eroute: %d keys are drawn, printed are %d and 2 around them", n, len(found.Eroutes[0]))
	}
	if !strings.Contains(text, "no-such-connection") {
		t.Error("reasons are missing")
	}
}

func TestWrapped(t *testing.T) {
	got := wrapped(strings.Repeat("word ", 40), "    ")
	for line := range strings.Lines(got) {
		if n := len(strings.TrimRight(line, "\n")); n > pageWidth || !strings.HasPrefix(line, "    word") {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	if strings.Count(got, "word") != 40 {
		t.Error("words are lost")
	}
}

func TestRoff(t *testing.T) {
	for text, want := range map[string]string{
		"--up a\\b": `\-\-up a\eb`, ".TH x": `\&.TH x`, "'quoted'": `\&'quoted'`, "a…": `a\[u2026]`, "plain": "plain",
	} {
		if got := roff(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// groff has no complaint about the pages.
func TestManualPagesAreClean(t *testing.T) {
	_, err := exec.LookPath("groff")
	labtest.Need(t, err == nil, "groff")
	for _, p := range reference() {
		var b bytes.Buffer
		p.writeMan(&b)
		c := exec.Command("groff", "-man", "-Tutf8", "-ww")
		c.Stdin = &b
		var diag bytes.Buffer
		c.Stderr = &diag
		out, err := c.Output()
		if err != nil || diag.Len() > 0 || len(out) < 1000 {
			t.Errorf("%s: %v, %d octets, %s", p.name, err, len(out), &diag)
		}
	}
}
