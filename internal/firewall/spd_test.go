package firewall

import (
	"os"
	"path/filepath"
	"testing"

	"cygnet/internal/ipsec"
)

func TestFromSPD(t *testing.T) {
	p := func(local, remote string, proto uint8, a ipsec.Action) ipsec.Policy {
		return ipsec.Policy{Selector: ipsec.Selector{Src: prefix(local), Dst: prefix(remote), Proto: proto}, Action: a}
	}
	spd := []ipsec.Policy{
		p("0.0.0.0/0", "0.0.0.0/0", 0, ipsec.Trap),
		p("10.1.0.0/24", "0.0.0.0/0", 0, ipsec.Protect),
		p("10.1.0.0/24", "10.9.0.0/16", 0, ipsec.Protect),
		p("10.1.0.0/24", "10.9.0.0/16", 6, ipsec.Pass),
		p("10.0.0.0/8", "10.9.9.0/24", 0, ipsec.Pass),
	}
	got := FromSPD(spd, func(p ipsec.Policy) bool { return p.Action != ipsec.Pass })
	want := []int{3, 2, 1, 4, 0} // the source counts before the destination
	for i, w := range want {
		if got[i].Selector != spd[w].Selector || got[i].Drop != (spd[w].Action != ipsec.Pass) {
			t.Errorf("place %d: %v drop %v, want %v", i, got[i].Selector, got[i].Drop, spd[w].Selector)
		}
	}
}

func TestLegacy(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		f := filepath.Join(dir, name)
		if err := os.WriteFile(f, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	missing := filepath.Join(dir, "missing")
	for _, c := range []struct {
		files []string
		want  bool
	}{
		{[]string{missing}, false},
		{[]string{file("nat", "nat\nmangle\n")}, false},
		{[]string{missing, file("filter", "nat\nfilter\n")}, true},
	} {
		if got, err := legacyIn(c.files); got != c.want || err != nil {
			t.Errorf("%v: %v, %v; want %v", c.files, got, err, c.want)
		}
	}
	if _, err := Legacy(); err != nil {
		t.Error(err)
	}
}
