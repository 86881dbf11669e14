package config

import (
	"fmt"
	"strings"
	"testing"

	"cygnet/internal/ike"
)

// What the manual says of files, requirement by requirement, where no other
// test of this package shows it.

// R2.1, R2.3: any prefix is a subnet, bits beyond it are cleared, and a mask
// with holes is none.
func TestSubnetsOfEverySize(t *testing.T) {
	conn := func(net string) *File {
		return ParseText("ipsec.conf", "version 2\nconn c\n\tleft=192.0.2.1\n\tright=198.51.100.1\n\tauthby=secret\n\tleftsubnet="+net+"\n")
	}
	for net, want := range map[string]string{
		"0.0.0.0/0": "0.0.0.0/0", "10.2.0.0/15": "10.2.0.0/15", "192.168.100.0/22": "192.168.100.0/22", "192.168.102.0/23": "192.168.102.0/23",
		"192.168.103.0/24": "192.168.103.0/24", "10.0.0.128/25": "10.0.0.128/25", "192.168.103.70/28": "192.168.103.64/28",
		"192.168.101.32/29": "192.168.101.32/29", "192.168.103.42/32": "192.168.103.42/32", "10.1.2.3/255.255.254.0": "10.1.2.0/23",
	} {
		c := conn(net).Conn("c")
		if c == nil || len(c.Left.Subnets) != 1 || c.Left.Subnets[0].String() != want {
			t.Errorf("leftsubnet=%s is not %s: %v", net, want, conn(net).Errors)
		}
	}
	for _, net := range []string{"10.0.0.0/255.0.255.0", "10.0.0.0/33"} {
		if f := conn(net); f.Conn("c") != nil || f.Problem("c") == nil {
			t.Errorf("leftsubnet=%s is accepted", net)
		}
	}
}

// R6.8: public keys are what a connection uses that says nothing.
func TestPublicKeysAreTheDefault(t *testing.T) {
	c := ParseText("ipsec.conf", "version 2\nconn c\n\tleft=192.0.2.1\n\tright=198.51.100.1\n").Conn("c")
	if len(c.AuthBy) != 1 || c.AuthBy[0] != ike.AuthPubkey || len(c.Left.Auth) != 1 || c.Left.Auth[0] != ike.AuthPubkey {
		t.Errorf("authby is %v", c.AuthBy)
	}
}

// R7.5: whatever stands between the quotes is the secret, octet for octet.
func TestSecretsOctetForOctet(t *testing.T) {
	for _, secret := range []string{
		"blanks  and\ttabs inside, and at the end ", "# no comment, it's 'quoted'", "Zürich → Genève, 日本語", `back\slash \n \x00 {braces} : PSK`, "\x01\xff\xfe no UTF-8 at all",
	} {
		s := ParseSecrets(MapFS{Files: map[string]string{"s": `192.0.2.1 198.51.100.1 : PSK "` + secret + "\"\n"}}, "s", SecretsOptions{})
		if len(s.Entries) != 1 || string(s.Entries[0].PSK.Bytes()) != secret {
			t.Errorf("%q is read otherwise: %v", secret, s.Errors)
		}
	}
}

// R10.6: one include takes in a key file for each site; one that is gone breaks
// its site alone.
func TestKeyFileForEachSite(t *testing.T) {
	fsys := MapFS{Files: map[string]string{"/etc/ipsec.conf": "version 2\ninclude ipsec.*.conf\n"}}
	for i, site := range []string{"A", "B", "C"} {
		fsys.Files["/etc/ipsec.conf"] += fmt.Sprintf("conn %s\n\tleft=192.0.2.1\n\tright=198.51.100.%d\n\tesp=aes128-sha1\n\talso=%s-keys\n", site, i+1, site)
		fsys.Files["/etc/ipsec.site"+site+".conf"] = fmt.Sprintf("conn %s-keys\n\tspi=0x20%d\n\tespenckey=0x%032x\n\tespauthkey=0x%040x\n", site, i, i+1, i+1)
	}
	loaded := func() string {
		var names []string
		for _, c := range Parse(fsys, "/etc/ipsec.conf").Conns {
			if c.Manual.SPI != 0 && c.Manual.Keys.ESPEnc.Len() == 16 {
				names = append(names, c.Name)
			}
		}
		return strings.Join(names, " ")
	}
	if got := loaded(); got != "A B C" {
		t.Errorf("with all files: %s", got)
	}
	delete(fsys.Files, "/etc/ipsec.siteB.conf")
	if got := loaded(); got != "A C" {
		t.Errorf("without B's: %s", got)
	}
	if p := Parse(fsys, "/etc/ipsec.conf").Problem("B"); p == nil || !strings.Contains(p.Text, "B-keys") {
		t.Errorf("B is said to be %v", p)
	}
}

// R12.1: without config setup there are defaults; there cannot be two.
func TestOneConfigSetup(t *testing.T) {
	f := ParseText("ipsec.conf", "version 2\n")
	if f.Err() != nil || len(f.Setup.Interfaces) != 1 || f.Setup.Interfaces[0].Physical != "%defaultroute" || !f.Setup.Pluto {
		t.Errorf("without config setup: %+v, %v", f.Setup, f.Errors)
	}
	err := ParseText("ipsec.conf", "version 2\nconfig setup\n\tuniqueids=no\nconfig setup\n\tuniqueids=yes\n").Err()
	if err == nil || !strings.Contains(err.Error(), "ipsec.conf:4: duplicate config section") {
		t.Errorf("two of them: %v", err)
	}
}

// R12.15: in a 2.x file auto= decides by itself.
func TestAutoAlone(t *testing.T) {
	text := "version 2\n"
	want := map[string]Startup{"ignore": AutoIgnore, "add": AutoAdd, "route": AutoRoute, "start": AutoStart, "manual": AutoManual}
	for word := range want {
		text += "conn " + word + "\n\tleft=192.0.2.1\n\tright=198.51.100.1\n\tauthby=secret\n\tauto=" + word + "\n"
	}
	text = strings.Replace(text, "auto=manual", "auto=manual\n\tspi=0x200\n\tah=hmac-sha1-96\n\tahkey=0x"+strings.Repeat("5a", 20), 1)
	f := ParseText("ipsec.conf", text)
	for word, auto := range want {
		if c := f.Conn(word); c == nil || c.Auto != auto {
			t.Errorf("auto=%s: %v", word, f.Problem(word))
		}
	}
}

// R13.10: four connections that share their ends by also= are the same as four
// that are written out.
func TestAlsoSavesRepetition(t *testing.T) {
	ends := "\tleft=101.101.101.101\n\tleftnexthop=101.101.101.1\n\tright=202.202.202.202\n\trightnexthop=202.202.202.1\n"
	kinds := map[string]string{
		"northnet-southnet": "\tleftsubnet=192.168.100.0/24\n\trightsubnet=192.168.200.0/24\n", "northgate-southnet": "\trightsubnet=192.168.200.0/24\n",
		"northnet-southgate": "\tleftsubnet=192.168.100.0/24\n", "northgate-southgate": "",
	}
	long, short, base := "version 2\n", "version 2\ninclude base.conf\n", "conn base\n"+ends
	for name, subnets := range kinds {
		long += "conn " + name + "\n" + ends + subnets
		short += "conn " + name + "\n\talso=base\n" + subnets
	}
	a := ParseText("long.conf", long)
	b := Parse(MapFS{Files: map[string]string{"short.conf": short, "base.conf": base}}, "short.conf")
	for name := range kinds {
		if a.Conn(name) == nil || b.Conn(name) == nil || a.Conn(name).String() != b.Conn(name).String() {
			t.Errorf("%s:\n%v\n%v", name, a.Conn(name), b.Conn(name))
		}
	}
}
