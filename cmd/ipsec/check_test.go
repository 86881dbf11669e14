package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cygnet/internal/check"
	"cygnet/internal/config"
	"cygnet/internal/whack"
)

const (
	cleanConf = "version 2\n\nconn a\n\tleft=192.0.2.1\n\tright=198.51.100.1\n\tauthby=secret\n\tauto=start\n"
	goodPSK   = "192.0.2.1 198.51.100.1 : PSK \"0x5c1d33a1_0f2e4b77_9a6c8d10_e7f3b259_61c4a8fe_0b9d2735_c86e1fa4_7d50b392\"\n"
)

// write puts files into a directory of their own, readable by their owner.
func write(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCheckExitCodes(t *testing.T) {
	gateway(t)
	dir := write(t, map[string]string{
		"clean.conf": cleanConf, "clean.secrets": goodPSK,
		"warned.conf": strings.Replace(cleanConf, "auto", "rightsubnet=10.2.0.1/24\n\tauto", 1), "warned.secrets": goodPSK,
		"wrong.conf": strings.Replace(cleanConf, "auto", "atuo", 1), "wrong.secrets": goodPSK,
	})
	for name, want := range map[string]whack.Exit{"clean": whack.ExitDone, "warned": whack.ExitWarnings, "wrong": whack.ExitErrors, "absent": whack.ExitFailed} {
		for _, flag := range []string{"--json=false", "--json"} {
			if r := runIpsec(t, "check", flag, filepath.Join(dir, name+".conf")); r.code != int(want) {
				t.Errorf("check %s %s: exit %d, expected %d\n%s%s", flag, name, r.code, want, r.out, r.err)
			}
		}
	}
}

// A finding has id, place, reason and mend, in both forms.
func TestCheckOutput(t *testing.T) {
	gateway(t)
	dir := write(t, map[string]string{"a.conf": strings.Replace(cleanConf, "auto", "rightsubnet=10.2.0.1/24\n\tauto", 1), "a.secrets": goodPSK})
	name := filepath.Join(dir, "a.conf")
	out := runIpsec(t, "check", name).out
	for _, want := range []string{"FW015 warning: " + name + ":7: ", "\twhy: ", "\tmend: write 10.2.0.0/24 (--fix does it)", "0 errors, 1 warnings, 0 notes", "N/A: "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	var got struct {
		Version, Warnings int
		Findings          []struct {
			ID, Severity, File, What, Why, Mend string
			Line                                int
		}
		NotApplicable []struct{ ID, Needs string } `json:"not_applicable"`
	}
	if err := json.Unmarshal([]byte(runIpsec(t, "check", "--json", name).out), &got); err != nil {
		t.Fatal(err)
	}
	if f := got.Findings[0]; got.Version != 1 || got.Warnings != 1 || f.ID != "FW015" || f.Severity != "warning" || f.File != name || f.Line != 7 || f.Why == "" || f.Mend == "" || len(got.NotApplicable) == 0 {
		t.Errorf("%+v", got)
	}
	if rules := runIpsec(t, "check", "--rules"); strings.Count(rules.out, "\n") != len(check.Rules()) {
		t.Errorf("--rules:\n%s", rules.out)
	}
}

// --fix keeps what it does not mend, the mode of the file too, and closes a
// secrets file.
func TestCheckFix(t *testing.T) {
	gateway(t)
	text := "# ours\n" + strings.Replace(cleanConf, "auto", "rightsubnet =  10.2.0.1/24\t# theirs\n\n\tauto", 1)
	dir := write(t, map[string]string{"a.conf": text, "a.secrets": goodPSK})
	conf, secrets := filepath.Join(dir, "a.conf"), filepath.Join(dir, "a.secrets")
	if err := os.Chmod(conf, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(secrets, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := runIpsec(t, "check", conf); r.code != int(whack.ExitErrors) {
		t.Errorf("before: exit %d\n%s", r.code, r.out)
	}
	if b, err := os.ReadFile(conf); err != nil || string(b) != text {
		t.Errorf("check alone has changed the file: %v", err)
	}
	r := runIpsec(t, "check", "--fix", conf)
	if r.code != 0 || !strings.Contains(r.err, "mended: "+conf) || !strings.Contains(r.err, "mended: chmod 0600 "+secrets) {
		t.Errorf("--fix: exit %d\n%s%s", r.code, r.out, r.err)
	}
	b, err := os.ReadFile(conf)
	if want := strings.Replace(text, "10.2.0.1/24", "10.2.0.0/24", 1); err != nil || string(b) != want {
		t.Errorf("mended:\n%s", b)
	}
	for name, want := range map[string]os.FileMode{conf: 0o640, secrets: 0o600} {
		if st, err := os.Stat(name); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, expected mode %o", name, st.Mode(), want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".ipsec*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The example keys of the manual and of our README keep setup from starting
// (R7.7, R10.9, FW006).
func TestExampleKeysRefuseToStart(t *testing.T) {
	const manual = "conn samplesep\n\tleft=192.0.2.1\n\tright=198.51.100.1\n\tspi=0x200\n\tesp=3des-md5-96\n" +
		"\tespenckey=0x01234567_89abcdef_02468ace_13579bdf_12345678_9abcdef0\n\tespauthkey=0x12345678_9abcdef0_2468ace0_13579bdf\n"
	for name, c := range map[string]struct {
		conf, secrets string
		line          string
	}{
		"the manual's secret":       {cleanConf, "# x\n10.0.0.1 11.0.0.1 : PSK \"jxTR1lnmSjuj33n4W51uW3kTR55luUmSmnlRUuWnkjRj3UuTV4T3USSu23Uk55nWu5TkTUnjT\"\n", "ipsec.secrets:2"},
		"the README's secret":       {cleanConf, ": PSK \"0x5f3c9a11_8e0124d7_...\"\n", "ipsec.secrets:1"},
		"manual keys, auto=manual":  {"version 2\n" + manual + "\tauto=manual\n", "", "ipsec.conf:7"},
		"manual keys, manualstart=": {"version 2\nconfig setup\n\tmanualstart=samplesep\n" + manual, "", "ipsec.conf:9"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := gateway(t)
			for file, text := range map[string]string{"ipsec.conf": c.conf, "ipsec.secrets": c.secrets} {
				if err := os.WriteFile(filepath.Join(conf, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s := &setup{at: where(), diag: t.Output()}
			err := s.checkFiles()
			if err == nil || !strings.Contains(err.Error(), c.line) || !strings.Contains(err.Error(), "aborted") {
				t.Errorf("start is not refused with %s: %v", c.line, err)
			}
			if r := runIpsec(t, "pluto"); r.code != int(whack.ExitConfig) || !strings.Contains(r.err, c.line) {
				t.Errorf("the daemon starts: exit %d, %s", r.code, r.err)
			}
		})
	}
	conf := gateway(t) // keys that nothing brings up are only warned of
	if err := os.WriteFile(filepath.Join(conf, "ipsec.conf"), []byte("version 2\n"+manual), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (&setup{at: where(), diag: t.Output()}).checkFiles(); err != nil {
		t.Error(err)
	}
}

func TestNATRules(t *testing.T) {
	p := netip.MustParsePrefix
	nft := parseNFT(`table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr 192.0.2.1 masquerade
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "eth0" masquerade
		ip saddr 10.1.0.0/16 ip daddr 10.0.0.0/8 counter packets 3 bytes 4 return
		ip saddr 10.1.0.0/16 oifname != "docker0" masquerade
		oifname != "ipsec0" snat to 192.0.2.1
		tcp dport 80 masquerade
		ip daddr { 10.0.0.1, 10.0.0.2 } masquerade
	}
}
`)
	old := parseIPTables(`*nat
-A PREROUTING -j MASQUERADE
-A POSTROUTING -o eth0 -j MASQUERADE
-A POSTROUTING -s 10.1.0.0/16 -d 10.0.0.0/8 -j RETURN
-A POSTROUTING -s 10.1.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING ! -o ipsec0 -j SNAT --to-source 192.0.2.1
-A POSTROUTING -p tcp -m tcp --dport 80 -j MASQUERADE
-A POSTROUTING ! -d 10.0.0.0/8 -j MASQUERADE
`)
	want := []check.NATRule{
		{Out: "eth0"},
		{Source: p("10.1.0.0/16"), Dest: p("10.0.0.0/8"), Exempt: true},
		{Source: p("10.1.0.0/16")},
		{Out: "!ipsec0"},
	}
	for name, got := range map[string][]check.NATRule{"nft": nft, "iptables": old} {
		if len(got) != len(want) {
			t.Fatalf("%s: %+v", name, got)
		}
		for i := range got {
			got[i].Text = ""
			if got[i] != want[i] {
				t.Errorf("%s: rule %d is %+v, expected %+v", name, i, got[i], want[i])
			}
		}
	}
}

func TestNameServers(t *testing.T) {
	dir := write(t, map[string]string{"resolv.conf": "search example.org\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver junk\n"})
	got := nameServers(filepath.Join(dir, "resolv.conf"))
	if len(got) != 2 || got[0] != netip.MustParseAddr("192.0.2.53") || got[1] != netip.MustParseAddr("fe80::1") {
		t.Errorf("%v", got)
	}
}

func TestKeyRecord(t *testing.T) {
	owner := netip.MustParseAddr("192.0.2.11")
	r, ok := parseKeyRecord(owner, "X-IPsec-Server(10)=192.0.2.1 AQOF8 tZ2")
	if !ok || r != (check.KeyRecord{Owner: owner, Gateway: netip.MustParseAddr("192.0.2.1"), Key: "AQOF8tZ2"}) {
		t.Errorf("%+v, %v", r, ok)
	}
	for _, text := range []string{"", "X-IPsec-Server(10)=192.0.2.1", "X-IPsec-Server(10)=@gw.example.org AQ", "v=spf1 -all"} {
		if _, ok := parseKeyRecord(owner, text); ok {
			t.Errorf("%q is taken for a record", text)
		}
	}
	if n := reverseName(netip.MustParseAddr("2001:db8::1")); n != "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa." {
		t.Error(n)
	}
	if n := reverseName(owner); n != "11.2.0.192.in-addr.arpa." {
		t.Error(n)
	}
}

// Facts of this very machine can be gathered, and the rules that need them
// apply.
func TestFactsOfThisMachine(t *testing.T) {
	conf := gateway(t)
	name := filepath.Join(conf, "ipsec.conf")
	if err := os.WriteFile(name, []byte(cleanConf), 0o600); err != nil {
		t.Fatal(err)
	}
	g := check.Load(config.OS{}, name, check.Options{})
	f := gatherFacts(g)
	if f.Interfaces == nil || f.Routes == nil || f.Age[name] <= 0 {
		t.Errorf("%+v", f)
	}
	if out := runIpsec(t, "check").out; !strings.Contains(out, "FW104") || strings.Contains(out, "FW014 (") {
		t.Errorf("the file of this machine is not compared with it:\n%s", out)
	}
}

// What several rules would need is said once for each file.
func TestNotAppliedSaysEachNeedOnce(t *testing.T) {
	got := notApplied([]check.Skipped{{Rule: "A", File: "f", Needs: "the routes of the machine"}, {Rule: "B", File: "f", Needs: "the records in DNS"}, {Rule: "C", File: "f", Needs: "the routes of the machine"}})
	if want := "N/A: f: A B C: not known of its machine: the routes, the records in DNS"; len(got) != 1 || got[0] != want {
		t.Errorf("%q", got)
	}
}
