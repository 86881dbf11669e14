package manual

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"cygnet/internal/config"
	"cygnet/internal/connection"
)

var update = flag.Bool("update", false, "rewrite golden files")

// facts are a machine with these addresses, on ipsec0 and eth0, ipsec1 and eth1
// and so on.
func facts(addrs ...string) *connection.Facts {
	f := &connection.Facts{Names: map[string]netip.Addr{}}
	for i, a := range addrs {
		f.Ours = append(f.Ours, connection.Address{Addr: netip.MustParseAddr(a), Virtual: fmt.Sprintf("ipsec%d", i), Physical: fmt.Sprintf("eth%d", i)})
	}
	return f
}

// plan plans connection m of a configuration for the machine at addr.
func plan(t *testing.T, text, addr string) (*Plan, error) {
	t.Helper()
	f := config.ParseText("ipsec.conf", text)
	c := f.Conn("m")
	if c == nil {
		return nil, f.Problem("m")
	}
	d, err := Orient(c, facts(addr))
	if err != nil {
		return nil, err
	}
	p, problem := New(c, &f.Setup, d)
	if problem != nil {
		return nil, problem
	}
	return p, nil
}

// TestPlans compares each configuration in testdata with the commands that it
// amounts to on its left end and on its right.
// R20.2.
func TestPlans(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			a := txtar.Parse(data)
			conf := string(a.Files[0].Data)
			got := &txtar.Archive{Comment: a.Comment, Files: a.Files[:1:1]}
			for _, end := range []struct{ name, addr string }{{"left", "192.0.2.1"}, {"right", "198.51.100.1"}} {
				p, err := plan(t, conf, end.addr)
				if err != nil {
					t.Fatal(err)
				}
				for _, op := range []struct {
					name  string
					lines []string
				}{{"up", p.Up()}, {"down", p.Down()}, {"route", p.Route()}, {"unroute", p.Unroute()}} {
					got.Files = append(got.Files, txtar.File{Name: end.name + " " + op.name, Data: []byte(strings.Join(op.lines, "\n") + "\n")})
				}
				if end.name == "left" {
					var b bytes.Buffer
					for _, w := range p.Warnings {
						fmt.Fprintln(&b, w)
					}
					got.Files = append(got.Files, txtar.File{Name: "warnings", Data: b.Bytes()})
				}
			}
			out := txtar.Format(got)
			if *update {
				if err := os.WriteFile(name, out, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(out, data) && !*update {
				t.Errorf("got:\n%s", out)
			}
		})
	}
}

const ends = "conn m\n\tleft=192.0.2.1\n\tleftsubnet=10.1.0.0/24\n\tright=198.51.100.1\n\trightsubnet=10.2.0.0/24\n"

const (
	key128 = "0x8d1f22c1_5570b3ac_93d4e617_01b8f24e"
	key160 = key128 + "_7c3a9d05"
	key192 = key160 + "_e2b64f18"
	key256 = key192 + "_0a5c7e91_d43f2b86"
)

// TestRefusals are bad inputs, each with its one line (R10.7, R10.8, R10.11, R11.2,
// R20.1, V1, V8).
func TestRefusals(t *testing.T) {
	good := []string{"spi=0x200", "esp=3des-md5-96", "espenckey=" + key192, "espauthkey=" + key128}
	for _, tc := range []struct{ name, change, want string }{
		{"neither SPI", "spi=", `ipsec.conf:1: spi: manual keying needs spi or spibase (spi=0x200, another one for each connection)`},
		{"neither protocol", "esp=", `ipsec.conf:1: esp: manual keying needs esp or ah (such as esp=aes128-sha2_256)`},
		{"short encryption key", "espenckey=" + key128, `ipsec.conf:8: espenckey: key of 128 bits, but 3des_cbc needs 192 (ipsec ranbits makes keys)`},
		{"long encryption key", "espenckey=" + key256, `ipsec.conf:8: espenckey: key of 256 bits, but 3des_cbc needs 192 (ipsec ranbits makes keys)`},
		{"no encryption key", "espenckey=", `ipsec.conf:1: espenckey: no key, but 3des_cbc needs one of 192 bits (ipsec ranbits makes keys)`},
		{"wrong integrity key", "espauthkey=" + key160, `ipsec.conf:9: espauthkey: key of 160 bits, but hmac_md5_96 needs 128 (ipsec ranbits makes keys)`},
		{"HMAC-SHA1 with a key for MD5", "esp=3des-sha1-96", `ipsec.conf:9: espauthkey: key of 128 bits, but hmac_sha1_96 needs 160 (ipsec ranbits makes keys)`},
		{"AES has three sizes", "esp=aes-md5-96\n\tespenckey=" + key160, `ipsec.conf:8: espenckey: key of 160 bits, but aes_cbc needs 128, 192 or 256 (ipsec ranbits makes keys)`},
		{"AES of a size", "esp=aes256-md5-96", `ipsec.conf:8: espenckey: key of 192 bits, but aes_cbc needs 256 (ipsec ranbits makes keys)`},
		{"first keys equal", "espenckey=0x0123456789abcdef_0123456789abcdef_1122334455667788", `ipsec.conf:8: espenckey: first and second third of the key are equal, which leaves single DES (ipsec ranbits makes keys)`},
		{"equal but for parity", "espenckey=0x0123456789abcdef_1122334455667788_1023324554677689", `ipsec.conf:8: espenckey: second and last third of the key are equal, which leaves single DES (ipsec ranbits makes keys)`},
		{"weak key", "espenckey=0x0123456789abcdef_1f1f1f1f0e0e0e0e_1122334455667788", `ipsec.conf:8: espenckey: a third of the key is a weak key of DES (ipsec ranbits makes keys)`},
		{"semi-weak key without parity", "espenckey=0x01fe00ff00fe01ff_0123456789abcdef_1122334455667788", `ipsec.conf:8: espenckey: a third of the key is a weak key of DES (ipsec ranbits makes keys)`},
		{"single DES", "esp=des-md5-96", `ipsec.conf:7: esp: "des-md5-96": single DES is broken and not available`},
		{"AEAD", "esp=aes_gcm256", `ipsec.conf:7: esp: "aes_gcm256": a counter cipher repeats its nonces when keys are static, and then shows what it hides (RFC 8221, 3)`},
		{"ChaCha20", "esp=chacha20_poly1305", `ipsec.conf:7: esp: "chacha20_poly1305": a counter cipher repeats its nonces when keys are static, and then shows what it hides (RFC 8221, 3)`},
		{"no authentication", "esp=3des", `ipsec.conf:7: esp: "3des" has no authentication: whoever is on the way may change packets (add one, as in 3des-sha1-96, or ah=; allow-noauth=yes permits it)`},
		{"no encryption", "esp=null-md5", `ipsec.conf:7: esp: "null-md5" encrypts nothing (ah= authenticates without encrypting)`},
		{"neither", "esp=null-none", `ipsec.conf:7: esp: null-none: encryption without integrity protects nothing`},
		{"key without algorithm", "esp=3des\n\tallow-noauth=yes", `ipsec.conf:9: espauthkey: a key of 128 bits, but no algorithm to use it (ipsec ranbits makes keys)`},
		{"alternatives", "esp=3des-md5,aes128-sha1", `ipsec.conf:7: esp: several alternatives, but nothing is negotiated: name one`},
		{"two ciphers", "esp=aes128+3des-md5", `ipsec.conf:7: esp: "aes128+3des-md5" names several ciphers`},
		{"a group", "esp=3des-md5-modp2048", `ipsec.conf:7: esp: key exchange modp_2048, but nothing is negotiated`},
		{"extended sequence numbers", "esp=3des-md5-esn", `ipsec.conf:7: esp: extended sequence numbers are for negotiated SAs only`},
		{"unknown cipher", "esp=rot13-md5", `ipsec.conf:7: esp: unknown algorithm "rot13" in "rot13-md5"`},
		{"unknown AH", "ah=hmac-crc32", `unknown algorithm "hmac_crc32"`},
		{"AH key", "ah=hmac-sha1-96\n\tahkey=" + key128, `ipsec.conf:11: ahkey: key of 128 bits, but hmac_sha1_96 needs 160 (ipsec ranbits makes keys)`},
		{"AH without a key", "ah=hmac-sha1-96", `ipsec.conf:1: ahkey: no key, but hmac_sha1_96 needs one of 160 bits (ipsec ranbits makes keys)`},
		{"peer anywhere", "right=%any", `ipsec.conf:4: right: the peer's address is not known, and nothing negotiates it (manual keying needs fixed addresses on both ends)`},
		{"shunt with ESP", "type=drop", `ipsec.conf:7: esp: a passthrough, drop or reject connection protects nothing (leave esp= out)`},
		{"forbidden", "config setup\n\tallow-manual=no", `ipsec.conf:6: spi: manual keying is forbidden by allow-manual=no in config setup`},
		{"obsolete and forbidden", "config setup\n\tallow-legacy=no", `allow-legacy=no`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := plan(t, change(ends, good, tc.change), "192.0.2.1")
			switch {
			case err == nil:
				t.Fatal("accepted")
			case strings.HasPrefix(tc.want, "ipsec.conf") && err.Error() != tc.want, !strings.Contains(err.Error(), tc.want), strings.Contains(err.Error(), "\n"):
				t.Errorf("\n got %s\nwant %s", err, tc.want)
			}
		})
	}
	if _, err := plan(t, change(ends, good, ""), "192.0.2.1"); err != nil {
		t.Errorf("without a change: %v", err)
	}
}

// change makes a configuration of sections and parameters. lines replace the
// parameters of the same names; a value of nothing takes one out.
func change(sections string, params []string, lines string) string {
	list := append([]string{}, params...)
	if strings.HasPrefix(lines, "config setup") {
		return sections + "\t" + strings.Join(list, "\n\t") + "\n" + lines + "\n"
	}
	for _, line := range strings.Split(lines, "\n\t") {
		name, value, _ := strings.Cut(line, "=")
		found := false
		for i, p := range list {
			if strings.HasPrefix(p, name+"=") {
				list[i], found = line, true
				if value == "" {
					list = append(list[:i], list[i+1:]...)
				}
				break
			}
		}
		if old := "\t" + name + "="; strings.Contains(sections, old) && name != "" {
			before, after, _ := strings.Cut(sections, old)
			_, after, _ = strings.Cut(after, "\n")
			sections, found = before+"\t"+line+"\n"+after, true
		}
		if !found && value != "" {
			list = append(list, line)
		}
	}
	return sections + "\t" + strings.Join(list, "\n\t") + "\n"
}

// R10.9: the manual's own keys are accepted, with a warning.
func TestExampleKeys(t *testing.T) {
	text := ends + "\tspi=0x200\n\tesp=3des-md5-96\n\tespenckey=0x01234567_89abcdef_02468ace_13579bdf_12345678_9abcdef0\n\tespauthkey=0x12345678_9abcdef0_2468ace0_13579bdf\n"
	p, err := plan(t, text, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Warnings) != 2 || !strings.Contains(p.Warnings[1].Error(), `connection "m" uses an example key`) {
		t.Errorf("%v", p.Warnings)
	}
}

// R8.1: keys in a file that others may read are refused, or only told of with
// secretsperm=warn.
func TestLooseFile(t *testing.T) {
	for _, perm := range []string{"strict", "warn"} {
		text := "config setup\n\tsecretsperm=" + perm + "\n" + ends + "\tspi=0x200\n\tah=hmac-sha1-96\n\tahkey=" + key160 + "\n"
		f := config.Parse(config.MapFS{Files: map[string]string{"/etc/c": text}, Infos: map[string]config.Info{"/etc/c": {Mode: 0o644, Trusted: true}}}, "/etc/c")
		d, err := Orient(f.Conn("m"), facts("192.0.2.1"))
		if err != nil {
			t.Fatal(err)
		}
		const want = "/etc/c:10: ahkey: this file holds keys and has mode 0644, open to group or others (chmod 600 /etc/c)"
		p, problem := New(f.Conn("m"), &f.Setup, d)
		switch {
		case perm == "strict" && (problem == nil || problem.Error() != want):
			t.Errorf("strict: %v", problem)
		case perm == "warn" && (problem != nil || p.Warnings[0].Error() != want):
			t.Errorf("warn: %v", problem)
		}
	}
}

// Who we are must be clear (freeswan.md 4.7).
func TestOrient(t *testing.T) {
	c := config.ParseText("c", ends+"\tspi=0x200\n\tah=hmac-sha1-96\n").Conn("m")
	for _, tc := range []struct {
		ours []string
		want string
	}{
		{nil, "no IPsec-enabled interfaces found"},
		{[]string{"203.0.113.1"}, "cannot find interface for 192.0.2.1 or 198.51.100.1"},
		{[]string{"192.0.2.1", "198.51.100.1"}, "ambiguous: could be on ipsec0 or ipsec1"},
	} {
		if _, err := Orient(c, facts(tc.ours...)); err == nil || err.Error() != tc.want {
			t.Errorf("%v: %v", tc.ours, err)
		}
	}
	d, err := Orient(c, facts("192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := Orient(c, Other(facts("192.0.2.1"), d))
	if err != nil || !other.Right || other.Local.Addr != d.Remote.Addr {
		t.Errorf("%+v, %v", other, err)
	}
}

// R10.10: two connections with the same number to the same address.
func TestDuplicates(t *testing.T) {
	conn := func(name, right, spi string) string {
		return "conn " + name + "\n\tleft=192.0.2.1\n\tright=" + right + "\n\t" + spi + "\n\tesp=aes-sha1\n\tauto=ignore\n"
	}
	f := config.ParseText("c", conn("a", "198.51.100.1", "spi=0x200")+conn("b", "198.51.100.1", "spi=0x201")+
		conn("same", "198.51.100.1", "spi=0x200")+conn("inbound", "198.51.100.2", "spi=0x201")+conn("base", "198.51.100.3", "spibase=0x200")+conn("free", "198.51.100.4", "spibase=0x300"))
	if len(f.Errors) > 0 {
		t.Fatal(f.Errors)
	}
	var got []string
	for _, p := range Duplicates(f.Conns) {
		got = append(got, p.Error())
	}
	want := []string{
		`c:16: spi: connection "same" has SPI 0x200 to the same address as connection "a" (give each connection its own, from 0x100 to 0xfff)`,
		`c:22: spi: connection "inbound" has SPI 0x201 to the same address as connection "b" (give each connection its own, from 0x100 to 0xfff)`,
		`c:28: spibase: connection "base" has SPI 0x201 to the same address as connection "b" (give each connection its own, from 0x100 to 0xfff)`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}
