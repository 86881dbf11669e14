package config

import (
	"slices"
	"strings"
	"testing"
)

const manualEnds = "\tleft=192.0.2.1\n\tright=198.51.100.1\n"

// R10.3, R10.4: keys in a file of their own are as if they stood in the conn.
func TestManualKeysApart(t *testing.T) {
	const keys = "\tspi=0x200\n\tesp=3des-md5-96\n\tespenckey=0x01234567_89abcdef_02468ace_13579bdf_12345678_9abcdef0\n\tespauthkey=0x12345678_9abcdef0_2468ace0_13579bdf\n"
	apart := Parse(MapFS{Files: map[string]string{
		"/etc/ipsec.conf":       "include ipsec.*.conf\nconn samplesep\n" + manualEnds + "\talso=samplesep-keys\n",
		"/etc/ipsec.siteA.conf": "conn samplesep-keys\n" + keys,
		"/etc/ipsec.siteB.conf": "conn b\n" + manualEnds + "\tspi=0x201\n\tesp=aes-sha1\n",
	}}, "/etc/ipsec.conf")
	inPlace := ParseText("/etc/ipsec.conf", "conn samplesep\n"+manualEnds+keys)
	a, b := apart.Conn("samplesep"), inPlace.Conn("samplesep")
	if a == nil || b == nil {
		t.Fatalf("no conn: %v %v", apart.Errors, inPlace.Errors)
	}
	if a.String() != b.String() || !a.Manual.Keys.ESPEnc.Equal(b.Manual.Keys.ESPEnc) || !a.Manual.Keys.ESPAuth.Equal(b.Manual.Keys.ESPAuth) {
		t.Errorf("apart:\n%s\nin place:\n%s", a, b)
	}
	if a.Manual.ESP != "3des-md5-96" || a.Manual.Example != "espenckey" || a.Manual.Exposed != nil || apart.Conn("b") == nil {
		t.Errorf("%+v", a.Manual)
	}
}

func TestUnion(t *testing.T) {
	fs := MapFS{Files: map[string]string{"c": "version 2\nconn ends\n" + manualEnds + "conn keys\n\tspi=0x200\n\tah=hmac-md5-96\nconn more\n\tspi=0x300\n"}}
	f, c, p := Union(fs, "c", []string{"ends", "keys"})
	if p != nil {
		t.Fatal(p, f.Errors)
	}
	if c.Name != "ends.keys" || c.Manual.SPI != 0x200 || c.Manual.AH != "hmac-md5-96" {
		t.Errorf("%+v", c)
	}
	for _, tc := range []struct {
		parts []string
		want  string
	}{
		{[]string{"ends", "keys", "more"}, `"spi"`},
		{[]string{"ends", "none"}, `did not find conn section(s) "none"`},
		{[]string{"ends", "a b"}, "not the name"},
		{[]string{"keys"}, "left"},
	} {
		_, c, p := Union(fs, "c", tc.parts)
		if p == nil || !strings.Contains(p.Error(), tc.want) {
			t.Errorf("%v: %v, %v", tc.parts, c, p)
		}
	}
}

// Keys that stand where others may read or exchange them.
func TestExposed(t *testing.T) {
	text := "conn m\n" + manualEnds + "\tspi=0x200\n\tah=hmac-md5-96\n\tahkey=0x0123456789abcdef0123456789abcdef\n"
	for _, tc := range []struct {
		info Info
		want string
	}{
		{Info{Mode: 0o600, Trusted: true}, ""},
		{Info{Mode: 0o640, Trusted: true}, "c:6: ahkey: this file holds keys and has mode 0640, open to group or others (chmod 600 c)"},
		{Info{Mode: 0o600, UID: 1000}, "c:6: ahkey: this file holds keys and belongs to user 1000, not to root (chown root c)"},
		{Info{Mode: 0o600, Trusted: true, Symlink: true}, "c:6: ahkey: this file holds keys and is a symbolic link (put the file itself there)"},
	} {
		f := Parse(MapFS{Files: map[string]string{"c": text}, Infos: map[string]Info{"c": tc.info}}, "c")
		c := f.Conn("m")
		if c == nil {
			t.Fatal(f.Errors)
		}
		got := ""
		if c.Manual.Exposed != nil {
			got = c.Manual.Exposed.Error()
		}
		if got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

// Each bad input of manual keying is one line with its place.
func TestManualErrors(t *testing.T) {
	for _, tc := range []struct{ lines, want string }{
		{"spi=0x80", `c:4: spi: parameter "spi" is 0x80, outside 0x100 to 0xfff, which are for manual keying`},
		{"spi=0x1000", `c:4: spi: parameter "spi" is 0x1000, outside 0x100 to 0xfff, which are for manual keying`},
		{"spi=200", `c:4: spi: parameter "spi" must be 0x and hexadecimal digits`},
		{"spibase=0x305", `c:4: spibase: spibase 0x305 does not end in 0 (its last digit numbers the SAs)`},
		{"spi=0x200\n\tspibase=0x300", `c:5: spibase: both spi and spibase are given`},
		{"spi=0x200\n\tespenckey=0x123", `c:5: espenckey: odd number of hexadecimal digits`},
		{"spi=0x200\n\tespenckey=0x6d1f0c9a__77", `c:5: espenckey: misplaced _ in hexadecimal key data`},
		{"spi=0x200\n\tespenckey=0x", `c:5: espenckey: key data has no digits`},
		{"spi=0x200\n\tleftahkey=0x12", `c:5: leftahkey: leftahkey and rightahkey must be given both or not at all (each is the key of the SA toward that end)`},
		{"spi=0x200\n\tespreplay_window=65", `c:5: espreplay_window: parameter "espreplay_window" must be a number from 0 to 64`},
		{"auto=manual", `c:4: auto: auto=manual, but there is no spi or spibase`},
		{"spi=0x200\n\tespenkey=0x12", `c:5: espenkey: unknown parameter name "espenkey" (did you mean espenckey?)`},
	} {
		f := ParseText("c", "conn m\n"+manualEnds+"\t"+tc.lines+"\n")
		p := f.Problem("m")
		if p == nil {
			t.Errorf("%q is accepted", tc.lines)
		} else if got := p.Error(); got != tc.want {
			t.Errorf("%q:\n got %s\nwant %s", tc.lines, got, tc.want)
		}
	}
}

// R10.9: the warning points at the key that everybody has, not at another one.
func TestExampleKeyIsPointedAt(t *testing.T) {
	const own, example = "0x9f51c3a77d204b6e_1188aa3c55d9e207", "0x12345678_9abcdef0_2468ace0_13579bdf"
	for want, keys := range map[string]string{
		"espauthkey":      "\tesp=aes128-md5\n\tespenckey=" + own + "\n\tespauthkey=" + example + "\n",
		"rightespauthkey": "\tesp=aes128-md5\n\tespenckey=" + own + "\n\tleftespauthkey=" + own + "\n\trightespauthkey=" + example + "\n",
		"":                "\tesp=aes128-md5\n\tespenckey=" + own + "\n\tespauthkey=" + own + "\n",
	} {
		f := ParseText("c", "version 2\nconn m\n"+manualEnds+"\tspi=0x200\n"+keys)
		c := f.Conn("m")
		if c == nil {
			t.Fatalf("%s: %v", want, f.Errors)
		}
		i := slices.IndexFunc(f.Warnings, func(p Problem) bool { return p.Rule == "FW006" })
		if c.Manual.Example != want || (i >= 0) != (want != "") || i >= 0 && f.Warnings[i].Key != want {
			t.Errorf("%q: %q, %v", want, c.Manual.Example, f.Warnings)
		}
	}
}
