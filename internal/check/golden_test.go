package check

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"cygnet/internal/config"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// clock is the day on which all of this is looked at.
var clock = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// Each rule has a file testdata/ID.txt: what is wrong (bad/…), the same thing
// done right (good/…), and what is found. A gateway is a NAME.conf, with
// NAME.secrets; facts say what is known of all machines of a side, and modes
// how files are protected.
func TestRules(t *testing.T) {
	for _, r := range Rules() {
		t.Run(r.ID, func(t *testing.T) {
			name := filepath.Join("testdata", r.ID+".txt")
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatalf("every rule has an example: %v", err)
			}
			bad, good := load(t, a, "bad/"), load(t, a, "good/")
			if !slices.ContainsFunc(bad.findings, func(f Finding) bool { return f.Rule == r.ID }) {
				t.Errorf("%s is not found in bad/:\n%s", r.ID, bad)
			}
			if slices.ContainsFunc(good.findings, func(f Finding) bool { return f.Rule == r.ID }) {
				t.Errorf("%s is found in good/:\n%s", r.ID, good)
			}
			if slices.ContainsFunc(good.skipped, func(s Skipped) bool { return s.Rule == r.ID }) {
				t.Errorf("%s was not applied to good/", r.ID)
			}
			compare(t, name, a, "bad:\n"+bad.of(r.ID).String()+"good:\n"+good.worse().String())
		})
	}
}

// The other files of testdata are about a rule each as well, NAME of ID-NAME.
func TestVariants(t *testing.T) {
	names, err := filepath.Glob("testdata/*-*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			id, _, _ := strings.Cut(filepath.Base(name), "-")
			compare(t, name, a, load(t, a, "").of(id).String())
		})
	}
}

func compare(t *testing.T, name string, a *txtar.Archive, got string) {
	t.Helper()
	at := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == "want" })
	if at < 0 {
		a.Files, at = append(a.Files, txtar.File{Name: "want"}), len(a.Files)
	}
	if string(a.Files[at].Data) == got {
		return
	}
	if !*update {
		t.Errorf("got:\n%s\nwant:\n%s", got, a.Files[at].Data)
		return
	}
	a.Files[at].Data = []byte(got)
	if err := os.WriteFile(name, bytes.TrimLeft(txtar.Format(a), "\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// result is what one side of an example gives.
type result struct {
	findings []Finding
	skipped  []Skipped
	mended   []string
}

// of keeps what one rule says.
func (r result) of(id string) result {
	r.findings = slices.DeleteFunc(slices.Clone(r.findings), func(f Finding) bool { return f.Rule != id })
	return r
}

// worse keeps warnings and errors.
func (r result) worse() result {
	r.findings = slices.DeleteFunc(slices.Clone(r.findings), func(f Finding) bool { return f.Severity == Info })
	return r
}

func (r result) String() string {
	var b strings.Builder
	for _, f := range r.findings {
		fmt.Fprintf(&b, "%s\n", f)
		if f.Mend != "" {
			fmt.Fprintf(&b, "\tmend: %s\n", f.Mend)
		}
	}
	for _, s := range r.mended {
		b.WriteString(s)
	}
	return b.String()
}

// load runs all rules over the files below prefix.
func load(t *testing.T, a *txtar.Archive, prefix string) result {
	t.Helper()
	fsys := config.MapFS{Files: map[string]string{}, Infos: map[string]config.Info{}}
	var facts *Facts
	var confs []string
	for _, f := range a.Files {
		name, ok := strings.CutPrefix(f.Name, prefix)
		switch {
		case !ok, name == "want":
		case name == "facts":
			facts = parseFacts(t, string(f.Data))
		case name == "modes":
			parseModes(t, string(f.Data), fsys.Infos)
		default:
			fsys.Files[name] = string(f.Data)
			if strings.HasSuffix(name, ".conf") && !strings.Contains(name, "/") && !strings.HasPrefix(name, "included") {
				confs = append(confs, name)
			}
		}
	}
	var list []*Gateway
	for _, c := range confs {
		list = append(list, Load(fsys, c, Options{Facts: facts, Now: clock}))
	}
	rep := Run(list...)
	r := result{findings: rep.Findings, skipped: rep.Skipped}
	for _, name := range append(confs, besides(fsys.Files, confs)...) {
		text, mode, err := Apply(fsys.Files[name], name, rep.Findings)
		if err != nil {
			t.Fatal(err)
		}
		if mode != 0 {
			r.mended = append(r.mended, fmt.Sprintf("chmod %04o %s\n", mode, name))
		}
		if text != fsys.Files[name] {
			r.mended = append(r.mended, fmt.Sprintf("mended %s:\n%s", name, text))
		}
	}
	return r
}

// besides lists the files that are not main ones, sorted.
func besides(files map[string]string, main []string) []string {
	var list []string
	for name := range files {
		if !slices.Contains(main, name) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

func parseModes(t *testing.T, text string, infos map[string]config.Info) {
	t.Helper()
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		mode, err := strconv.ParseUint(w[1], 8, 32)
		if err != nil {
			t.Fatal(err)
		}
		info := config.Info{Mode: fs.FileMode(mode), Trusted: true}
		if len(w) > 2 {
			info.UID, info.Trusted = 1000, false
		}
		infos[w[0]] = info
	}
}

// parseFacts reads lines of the forms
//
//	interface NAME [down] [ADDR/LEN…] [mtu N]
//	default DEVICE
//	route PREFIX DEVICE [ours]
//	nat OUT|any SOURCE|any DEST|any [exempt]
//	dns ADDR
//	txt OWNER GATEWAY KEY
//	age FILE DAYS
//	no interfaces|routes|nat|dns|txt
func parseFacts(t *testing.T, text string) *Facts {
	t.Helper()
	f := &Facts{Age: map[string]time.Duration{}}
	prefix := func(s string) netip.Prefix {
		if s == "any" {
			return netip.Prefix{}
		}
		return netip.MustParsePrefix(s)
	}
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		switch w[0] {
		case "interface":
			f.Interfaces = append(f.Interfaces, parseInterface(t, w[1:]))
		case "default":
			f.Default = append(f.Default, w[1])
		case "route":
			f.Routes = append(f.Routes, Route{prefix(w[1]), w[2], len(w) > 3})
		case "nat":
			f.NAT = append(f.NAT, NATRule{Text: strings.TrimSpace(line), Out: strings.TrimPrefix(w[1], "any"), Source: prefix(w[2]), Dest: prefix(w[3]), Exempt: len(w) > 4})
		case "dns":
			f.DNS = append(f.DNS, netip.MustParseAddr(w[1]))
		case "txt":
			f.TXT = append(f.TXT, KeyRecord{netip.MustParseAddr(w[1]), netip.MustParseAddr(w[2]), w[3]})
		case "age":
			days, err := strconv.Atoi(w[2])
			if err != nil {
				t.Fatal(err)
			}
			f.Age[w[1]] = time.Duration(days) * 24 * time.Hour
		case "no":
			switch w[1] {
			case "routes":
				f.Routes = []Route{}
			case "nat":
				f.NAT = []NATRule{}
			}
		default:
			t.Fatalf("facts: %s", line)
		}
	}
	return f
}

func parseInterface(t *testing.T, w []string) Interface {
	t.Helper()
	i := Interface{Name: w[0], Up: true, MTU: 1500}
	for n := 1; n < len(w); n++ {
		switch w[n] {
		case "down":
			i.Up = false
		case "mtu":
			n++
			mtu, err := strconv.Atoi(w[n])
			if err != nil {
				t.Fatal(err)
			}
			i.MTU = mtu
		default:
			i.Addrs = append(i.Addrs, netip.MustParsePrefix(w[n]))
		}
	}
	return i
}
