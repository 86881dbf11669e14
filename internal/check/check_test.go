package check

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"cygnet/internal/config"
)

// Every row says all that the output needs, and ids are in order.
func TestTable(t *testing.T) {
	last := ""
	for _, r := range Rules() {
		if r.ID <= last {
			t.Errorf("%s comes after %s", r.ID, last)
		}
		last = r.ID
		if r.Doc == "" || r.Why == "" || strings.Count(r.Why, ". ") > 0 || strings.HasSuffix(r.Why, ".") {
			t.Errorf("%s: what %q, why %q: one sentence each", r.ID, r.Doc, r.Why)
		}
		if (r.each == nil) == (r.pair == nil) && r.ID != "FW010" {
			t.Errorf("%s: is it about one gateway or about two?", r.ID)
		}
		if (r.needs == nil) != (r.wants == "") {
			t.Errorf("%s does not say what it needs", r.ID)
		}
	}
}

// Every file of testdata is run by a test.
func TestEveryExampleIsRun(t *testing.T) {
	ids := map[string]bool{}
	for _, r := range Rules() {
		ids[r.ID] = true
	}
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		id, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(n), ".txt"), "-")
		if !ids[id] {
			t.Errorf("%s is about no rule", n)
		}
	}
}

// What needs facts is not applied without them, and says so.
func TestNotApplicable(t *testing.T) {
	fsys := config.MapFS{Files: map[string]string{"a.conf": "version 2\n"}}
	skipped := Run(Load(fsys, "a.conf", Options{})).Skipped
	want := 0
	for _, r := range Rules() {
		if r.needs != nil {
			want++
		}
	}
	if len(skipped) != want || want == 0 {
		t.Errorf("%d rules are not applicable, %d need facts", len(skipped), want)
	}
	for _, s := range skipped {
		if s.Needs == "" || s.File != "a.conf" {
			t.Errorf("not applicable, but why and where: %+v", s)
		}
	}
}

// No finding contains a secret (CFG-12).
func TestNoSecretIsTold(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile(`PSK "([^"]+)"`)
	key := regexp.MustCompile(`(?m)^\t(?:espenckey|espauthkey|ahkey)=(\S+)`)
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var all string
		for _, prefix := range []string{"bad/", "good/", ""} {
			all += load(t, a, prefix).String()
		}
		all, _, _ = strings.Cut(all, "mended ") // a text that was mended holds what it held
		for _, f := range a.Files {
			if f.Name == "want" {
				continue
			}
			for _, m := range append(quoted.FindAllStringSubmatch(string(f.Data), -1), key.FindAllStringSubmatch(string(f.Data), -1)...) {
				if strings.Contains(all, m[1]) {
					t.Errorf("%s: a finding shows a secret of %s", name, f.Name)
				}
			}
		}
	}
}

// adversary.md CFG-14.
func TestEntropy(t *testing.T) {
	for _, c := range []struct {
		secret    string
		low, high float64
	}{
		{"0x5c1d33a1_0f2e4b77_9a6c8d10_e7f3b259_61c4a8fe_0b9d2735_c86e1fa4_7d50b392", 250, 256}, // ranbits 256
		{"0x5c1d33a1_0f2e4b77_9a6c8d10_e7f3b259", 128, 128},                                     // ranbits 128
		{"\x5c\x1d\x33\xa1\x0f\x2e\x4b\x77\x9a\x6c\x8d\x10\xe7\xf3\xb2\x59", 128, 128},          // the same as data
		{"jxTR1lnmSjuj33n4W51uW3kTR55luUmSmnlRUuWnkjRj3UuTV4T3USSu23Uk55nWu5TkTUnjT", 256, 500},
		{"secret", 1, 30},
		{"correct horse battery staple", 40, 70},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, 1},
		{"abababababababababababababababababababababab", 0, 100},
		{"Sommer2026!", 20, 75},
		{"0x00000000_00000000_00000000_00000000", 0, 60},
	} {
		if got := entropy([]byte(c.secret)); got < c.low || got > c.high {
			t.Errorf("%q: %.0f bits, expected %.0f to %.0f", c.secret, got, c.low, c.high)
		}
	}
}

// An edit is refused when the file has changed in the meantime, and leaves
// everything else as it is.
func TestApply(t *testing.T) {
	edit := []Finding{{File: "a", Edit: &Edit{Line: 2, Old: "10.1.1.1/8", New: "10.0.0.0/8"}}, {File: "b", Edit: &Edit{Mode: 0o600}}}
	text, mode, err := Apply("x\n\ta = 10.1.1.1/8 # why\nlast", "a", edit)
	if err != nil || mode != 0 || text != "x\n\ta = 10.0.0.0/8 # why\nlast" {
		t.Errorf("%q, mode %o, %v", text, mode, err)
	}
	if _, mode, err := Apply("x", "b", edit); err != nil || mode != fs.FileMode(0o600) {
		t.Errorf("mode %o, %v", mode, err)
	}
	if _, _, err := Apply("x\n\ta=10.0.0.0/8\n", "a", edit); err == nil {
		t.Error("an edit of what does not stand there was made")
	}
}

// What our own documents show as a secret is refused (R7.7, FW006).
// adversary.md CFG-14.
func TestDocumentedSecretsAreRefused(t *testing.T) {
	quoted := regexp.MustCompile(`PSK "([^"$…]+)"`)
	found := 0
	for _, pattern := range []string{"../../*.md", "../../docs/*", "../../scenarios/*.txt", "../../cmd/ipsec/*.go", "../config/secrets.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range quoted.FindAllStringSubmatch(string(b), -1) {
				found++
				s := config.ParseSecrets(config.MapFS{Files: map[string]string{"s": `: PSK "` + m[1] + "\"\n"}}, "s", config.SecretsOptions{})
				if len(s.Errors) != 1 || s.Errors[0].Rule != "FW006" {
					t.Errorf("%s shows a secret that works: %q", name, m[1])
				}
			}
		}
	}
	if found == 0 {
		t.Error("no document shows a secret: does the pattern still fit?")
	}
}

// A gateway with a thousand branches is looked at in a moment.
func TestThousandConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("measures time")
	}
	var conf, secrets strings.Builder
	conf.WriteString("version 2\nconn %default\n\tleft=192.0.2.1\n\tleftsubnet=10.0.0.0/16\n\tauthby=secret\n\tauto=start\n")
	for i := range 1000 {
		fmt.Fprintf(&conf, "conn b%d\n\tright=198.51.%d.%d\n\trightsubnet=10.%d.%d.0/24\n", i, 100+i/200, 1+i%200, 1+i/200, i%200)
		fmt.Fprintf(&secrets, "192.0.2.1 198.51.%d.%d : PSK \"0x5c1d33a1_0f2e4b77_9a6c8d10_e7f3b259_61c4a8fe_0b9d2735_c86e1fa4_%08x\"\n", 100+i/200, 1+i%200, i)
	}
	fsys := config.MapFS{Files: map[string]string{"a.conf": conf.String(), "a.secrets": secrets.String()}}
	start := time.Now()
	r := Run(Load(fsys, "a.conf", Options{}))
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("%v", took)
	}
	if r.Worst() > Info {
		t.Errorf("%v", r.Findings[0])
	}
}
