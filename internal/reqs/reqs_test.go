package reqs

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const root = "../.."

func read(t *testing.T, c *Catalogue) (*Data, []Evidence) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, c.DataFile))
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.Scan(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	return d, found
}

// Each page is what the tree says, and its data file claims no more than that.
func TestPage(t *testing.T) {
	for _, c := range Catalogues {
		d, found := read(t, c)
		for _, p := range c.Problems(d, found) {
			t.Error(p)
		}
		have, err := os.ReadFile(filepath.Join(root, c.PageFile))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have, c.Page(d, found)) {
			t.Errorf("%s is not what the tree says: go run ./internal/reqs/gen", c.PageFile)
		}
	}
}

// None of the catalogue's cases is missing from the file.
func TestAllCases(t *testing.T) {
	d, _ := read(t, Adversary)
	cases := map[string]int{"V2C": 50, "V2S": 55, "V1": 26, "CRY": 28, "ESP": 40, "FRG": 18, "X509": 23, "CFG": 21, "CTL": 18, "OE": 20, "RES": 22, "CRS": 17, "CLK": 10, "NET": 18}
	for _, g := range d.Groups {
		if name := Adversary.title(g.Number); len(g.Items) != cases[name] {
			t.Errorf("%s has %d cases, expected %d", name, len(g.Items), cases[name])
		}
	}
	if len(d.Groups) != len(cases) || len(d.All()) != 366 {
		t.Errorf("%d groups with %d cases", len(d.Groups), len(d.All()))
	}
}

// None of the cases of opportunistic encryption is missing from the file.
func TestAllOpportunism(t *testing.T) {
	d, _ := read(t, Opportunism)
	items := []int{23, 38, 24, 25, 10}
	if len(d.Groups) != len(items) || len(d.All()) != 120 {
		t.Fatalf("%d groups with %d cases", len(d.Groups), len(d.All()))
	}
	for i, g := range d.Groups {
		if len(g.Items) != items[i] {
			t.Errorf("%s has %d cases, expected %d", Opportunism.title(g.Number), len(g.Items), items[i])
		}
	}
}

// None of the exchanges is missing from the file.
func TestAllExchanges(t *testing.T) {
	if d, _ := read(t, Exchanges); len(d.All()) != 63 {
		t.Errorf("%d exchanges, expected 63", len(d.All()))
	}
}

// None of the manual's requirements is missing from the file.
func TestAllNumbers(t *testing.T) {
	d, _ := read(t, Requirements)
	items := []int{10, 8, 12, 10, 7, 8, 11, 4, 6, 13, 6, 20, 11, 5, 12, 8, 8, 9, 7, 8}
	if len(d.Groups) != len(items) {
		t.Fatalf("%d groups, expected %d", len(d.Groups), len(items))
	}
	for i, g := range d.Groups {
		if len(g.Items) != items[i] {
			t.Errorf("R%d has %d numbers, expected %d", g.Number, len(g.Items), items[i])
		}
	}
	if n := len(d.All()); n != 183 {
		t.Errorf("%d numbers, expected 183", n)
	}
}

func TestScan(t *testing.T) {
	tree := fstest.MapFS{
		"a/a_test.go": {Data: []byte(`package a

// helper is for R9.9.
func helper() {}

// TestOne proves R1.2, and R1.2 again, not AR1.3 or R100.1.
func TestOne(t *testing.T) {
	// R2.5: inside.
	helper()
}

// R3.1.
func FuzzTwo(f *testing.F) {}

// R3.2 is not proved by a method.
func (s *suite) TestThree() {}
`)},
		"a/a.go":                  {Data: []byte("// R4.4\npackage a\n")},
		"a/testdata/x/case.txt":   {Data: []byte("The case of R5.1.\n\n-- f --\nR5.2\n")},
		"scenarios/one.txt":       {Data: []byte("Title R6.1\n-- west/ipsec.conf --\n# R6.2\n-- steps --\n# R6.3, R6.4: see.\nwest: ping R6.5\n")},
		"other/one.txt":           {Data: []byte("-- steps --\n# R7.1\n")},
		"internal/reqs/x_test.go": {Data: []byte("not even Go R8.1")},
	}
	found, err := Requirements.Scan(tree)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range found {
		got = append(got, Requirements.Label(e.Number)+" "+e.File+" "+e.Name)
	}
	want := []string{
		"R1.2 a/a_test.go TestOne", "R2.5 a/a_test.go TestOne", "R3.1 a/a_test.go FuzzTwo",
		"R5.1 a/testdata/x/case.txt case.txt", "R6.3 scenarios/one.txt one", "R6.4 scenarios/one.txt one",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %s", strings.Join(got, "\n"))
	}
}

func TestProblems(t *testing.T) {
	const text = "strict no\nR1 Title\nR1.1 done a\nR1.2 open b\nR1.3 done c\n"
	proof := func(group, item int) Evidence { return Evidence{Number{group, item}, false, "f_test.go", "TestF"} }
	for name, c := range map[string]struct {
		text  string
		found []Evidence
		want  []string // words of each problem
	}{
		"fine":            {text, []Evidence{proof(1, 1), proof(1, 3)}, nil},
		"part of an open": {text, []Evidence{proof(1, 1), proof(1, 2), proof(1, 3)}, nil},
		"a test deleted":  {text, []Evidence{proof(1, 1)}, []string{"R1.3 is said to be done"}},
		"no such number":  {text, []Evidence{proof(1, 1), proof(1, 3), proof(1, 4)}, []string{"names R1.4, which does not exist"}},
		"strict":          {strings.Replace(text, "strict no", "strict yes", 1), []Evidence{proof(1, 1), proof(1, 3)}, []string{"R1.2 is open"}},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Requirements.Parse([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			got := Requirements.Problems(d, c.found)
			if len(got) != len(c.want) {
				t.Fatalf("%q", got)
			}
			for i := range got {
				if !strings.Contains(got[i], c.want[i]) {
					t.Errorf("%q lacks %q", got[i], c.want[i])
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"R2 first\n", "R1 a\nR1.2 open gap\n", "R1 a\nR1.1 maybe b\n", "R1 a\nR2.1 open b\n", "R1 a\nR1.1 open b\nR1.1 open b\n", "words\n",
	} {
		if _, err := Requirements.Parse([]byte(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestPageText(t *testing.T) {
	d, err := Requirements.Parse([]byte("R1 Title\nR1.1 done one\nR1.2 open two\nR1.3 open three\n"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(Requirements.Page(d, []Evidence{
		{Number{1, 1}, false, "internal/a/a_test.go", "TestA"}, {Number{1, 1}, true, "scenarios/s.txt", "s"}, {Number{1, 2}, false, "internal/a/a_test.go", "TestB"},
	}))
	for _, want := range []string{
		"3 requirements: 1 done, 1 in part, 1 open.",
		"| R1.1 | one | [a.TestA](../internal/a/a_test.go) | [s](../scenarios/s.txt) |",
		"| R1.2 | *In part:* two | [a.TestB](../internal/a/a_test.go) |  |",
		"| R1.3 | **Open:** three |  |  |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
}

func TestNamesOfTests(t *testing.T) {
	for name, want := range map[string]string{
		"TestAdv_FRG_04_05_15_OrdersAndForgeries": "FRG-04 FRG-05 FRG-15",
		"FuzzAdv_V2C_48":                    "V2C-48",
		"TestAdv_X509_01_HostNames":         "X509-01",
		"TestAdv_CRY_05_06_07_PublicValues": "CRY-05 CRY-06 CRY-07",
		"TestESP_Next":                      "",
		"TestAES_01":                        "",
	} {
		var got []string
		for _, n := range Adversary.named(name) {
			got = append(got, Adversary.Label(n))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// What is open in the catalogue says why.
func TestReasons(t *testing.T) {
	if _, err := Adversary.Parse([]byte("V2C a\nV2C-01 open b\n")); err == nil {
		t.Error("open without a reason is accepted")
	}
	d, err := Adversary.Parse([]byte("V2C a\nV2C-01 open b || not yet\n"))
	if err != nil || d.Groups[0].Items[0].Why != "not yet" {
		t.Errorf("%+v, %v", d, err)
	}
	if page := string(Adversary.Page(d, nil)); !strings.Contains(page, "| V2C-01 | **Open:** b *not yet* |") {
		t.Error(page)
	}
}
