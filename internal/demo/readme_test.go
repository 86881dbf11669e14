package demo

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cygnet/internal/lab/labtest"
	"cygnet/scenarios"
)

// The walk-through of the README, with its own files and commands, works. The
// secret it prints is refused, as an example should be (R7.7), so each test has
// one of its own in its place.
func TestReadme(t *testing.T) {
	labtest.New(t, "probe")
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	secrets := exampleSecret.ReplaceAllString(block(t, b, "101.101.101.101 202.202.202.202 : PSK"), `"$$SECRET"`)
	text := "The README\n-- prepare --\n$SECRET = west: ipsec ranbits 256\n" +
		"-- west,east/ipsec.conf --\n" + block(t, b, "version 2.0") +
		"-- west,east/ipsec.secrets --\n" + secrets +
		"-- steps --\n" + commands(t, b) + "sunset: ping sunrise\nwire: only IKE and ESP\n"
	s, err := Parse("readme", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var story bytes.Buffer
	r := &Runner{Binary: labtest.Binary(t), Prefix: labtest.Prefix("kd"), Tell: &Story{Out: &story}}
	if _, err := r.Run(t.Context(), s); err != nil {
		t.Errorf("%v\n%s\n%s", err, text, story.String())
	}
}

var update = flag.Bool("update", false, "write the list of scenarios into README.md")

// The README names every scenario with its title. After a change,
// go test ./internal/demo -run Readme -update writes the list anew.
func TestReadmeListsScenarios(t *testing.T) {
	const path, begin, end = "../../README.md", "<!-- scenarios, from their titles -->\n", "<!-- end of scenarios -->\n"
	all, err := Load(scenarios.Files)
	if err != nil {
		t.Fatal(err)
	}
	want := "| scenario | |\n| --- | --- |\n"
	for _, s := range all {
		want += "| [" + s.Name + "](scenarios/" + s.Name + ".txt) | " + s.Title + " |\n"
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("README.md has no list of scenarios")
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the README's list of scenarios (-update mends it):\n%s", diff)
	}
}

// block is the indented block that begins with start, without its indentation.
func block(t *testing.T, readme []byte, start string) string {
	t.Helper()
	var out strings.Builder
	found := false
	for line := range strings.Lines(string(readme)) {
		text, indented := strings.CutPrefix(line, "    ")
		if indented && strings.HasPrefix(text, start) {
			found = true
		}
		if !found {
			continue
		}
		if !indented && strings.TrimSpace(line) != "" {
			break
		}
		out.WriteString(strings.TrimRight(text, "\n") + "\n")
	}
	if !found {
		t.Fatalf("README has no block %q", start)
	}
	return out.String()
}

var (
	exampleSecret = regexp.MustCompile(`"0x[0-9a-f_.]+"`)

	prompt  = regexp.MustCompile(`(?m)^    (west|east)# (.+)$`)
	pinging = regexp.MustCompile(`ping -I (\S+) (\S+)`)
)

// commands are the lines with a prompt, as steps.
func commands(t *testing.T, readme []byte) string {
	t.Helper()
	var out strings.Builder
	found := prompt.FindAllSubmatch(readme, -1)
	for _, m := range found {
		out.WriteString(string(m[1]) + ": " + pinging.ReplaceAllString(string(m[2]), "ping $2 from $1") + "\n")
	}
	if len(found) < 6 {
		t.Fatalf("only %d commands in the README", len(found))
	}
	return out.String()
}

var scenarioLink = regexp.MustCompile(`\(\.\./scenarios/([^)]+)\.txt\)`)

// The operator's guide speaks of scenarios that exist.
func TestGuideNamesScenarios(t *testing.T) {
	b, err := os.ReadFile("../../docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	all, err := Load(scenarios.Files)
	if err != nil {
		t.Fatal(err)
	}
	links := scenarioLink.FindAllStringSubmatch(string(b), -1)
	for _, m := range links {
		if _, err := find(all, m[1]); err != nil {
			t.Error(err)
		}
	}
	if len(links) < 20 {
		t.Errorf("only %d links to scenarios found", len(links))
	}
}
