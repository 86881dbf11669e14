package config

import (
	"slices"
	"strings"
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/suite"
)

// The corpus: connections as people wrote them for FreeS/WAN 2.x, Openswan,
// Libreswan and strongSwan. Each means here what it meant there, or is refused
// with a reason that names the keyword.
var corpus = []struct {
	name, conf string
	refused    string           // in the problem; empty: the connection is sound
	sound      func(*Conn) bool // what it must mean
	warned     []string         // obsolete algorithms that are told of
}{
	{"FreeS/WAN 2.x, the manual's two gateways", `version 2.0
config setup
	interfaces="ipsec0=eth0"
	klipsdebug=none
	plutodebug=none
conn %default
	keyingtries=0
	authby=rsasig
conn west-east
	left=101.101.101.101
	leftsubnet=192.168.100.0/24
	leftid=@west.example.org
	leftrsasigkey=` + freeswanKey + `
	right=202.202.202.202
	rightsubnet=192.168.200.0/24
	rightid=@east.example.org
	rightrsasigkey=` + freeswanKey + `
	auto=start
`, "", func(c *Conn) bool {
		return authOf(c, ike.AuthPubkey) && c.Auto == AutoStart && c.KeyingTries == 0 && c.PFS && modern(c)
	}, nil},
	{"FreeS/WAN 2.x, manual keying with 3DES", `version 2.0
conn byhand
	left=101.101.101.101
	right=202.202.202.202
	auto=manual
	spi=0x200
	esp=3des-md5-96
	espenckey=0x01234567_89abcdef_02468ace_13579bdf_12345678_9abcdef0
	espauthkey=0x12345678_9abcdef0_2468ace0_13579bdf
`, "", func(c *Conn) bool { return c.Auto == AutoManual && c.Manual.ESP == "" || c.ESP.Text == "3des-md5-96" }, nil},
	{"FreeS/WAN 2.x, disablearrivalcheck and no PFS are what they say", `version 2.0
conn lax
	left=101.101.101.101
	right=202.202.202.202
	authby=secret
	pfs=no
	disablearrivalcheck=no
	compress=yes
	keylife=8h
	rekeymargin=9m
	auto=add
`, "", func(c *Conn) bool { return !c.PFS && c.CheckArrival && c.Compress && authOf(c, ike.AuthPSK) }, nil},
	{"FreeS/WAN 2.x, aggressive wishes are unknown there", `version 2.0
conn aggressive
	left=101.101.101.101
	right=202.202.202.202
	authby=secret
	aggrmode=yes
`, "aggrmode", nil, nil},
	{"FreeS/WAN 1.x, plutoload", `config setup
	plutoload=old
	plutostart=%none
conn old
	left=101.101.101.101
	right=202.202.202.202
	authby=secret
`, "", func(c *Conn) bool { return c.Auto == AutoAdd && authOf(c, ike.AuthPSK) }, nil},
	{"FreeS/WAN 2.x, a shunt", `version 2.0
conn clear
	left=101.101.101.101
	right=0.0.0.0
	type=passthrough
	auto=route
	authby=never
`, "", func(c *Conn) bool { return c.Type == TypePassthrough }, nil},
	{"Openswan, algorithms of its time", `version 2.0
conn openswan
	left=101.101.101.101
	leftsubnet=192.168.100.0/24
	right=202.202.202.202
	rightsubnet=192.168.200.0/24
	authby=secret
	keyexchange=ike
	ike=3des-md5;modp1536
	phase2alg=3des-md5
	auto=add
`, "", func(c *Conn) bool {
		return ciphers(c.IKE.List, "3des_cbc") && ciphers(c.ESP.List, "3des_cbc")
	}, []string{"3des", "md5"}},
	{"Openswan, DES", `version 2.0
conn des
	left=101.101.101.101
	right=202.202.202.202
	authby=secret
	esp=des-md5
`, "esp", nil, nil},
	{"Openswan, esp=null-null", `version 2.0
conn null
	left=101.101.101.101
	right=202.202.202.202
	authby=secret
	esp=null-null
`, "esp", nil, nil},
	{"Openswan, XAUTH", `version 2.0
conn xauth
	left=101.101.101.101
	leftxauthserver=yes
	right=%any
	rightxauthclient=yes
	authby=secret
	auto=add
`, "xauth", nil, nil},
	{"Openswan, forceencaps and dpd", `version 2.0
conn nat
	left=101.101.101.101
	right=202.202.202.202
	authby=secret
	forceencaps=yes
	dpddelay=30
	dpdtimeout=120
	dpdaction=clear
	ikev2=no
`, "", func(c *Conn) bool {
		return c.Version == 1 && c.Encapsulation == ike.Yes && c.DPDDelay.Seconds() == 30 && c.DPDTimeout.Seconds() == 120
	}, nil},
	{"Openswan, ikev2=insist", `version 2.0
conn two
	left=101.101.101.101
	right=202.202.202.202
	authby=secret
	ikev2=insist
`, "", func(c *Conn) bool { return c.Version == 2 }, nil},
	{"Libreswan, certificates and IKEv2", `config setup
	protostack=xfrm
conn libre
	ikev2=yes
	left=101.101.101.101
	leftid=@west
	leftcert=west.pem
	right=202.202.202.202
	rightid=@east
	rightca=%same
	authby=rsasig
	ike=aes_gcm256-sha2_512;dh19
	esp=aes_gcm256
	replay-window=0
`, "replay-window", nil, nil},
	{"Libreswan, authby=null", `conn null
	left=101.101.101.101
	right=202.202.202.202
	authby=null
`, "", func(c *Conn) bool { return authOf(c, ike.AuthNULL) }, nil},
	{"Libreswan, a mark", `conn mark
	left=101.101.101.101
	right=202.202.202.202
	authby=secret
	mark=5/0xffffffff
`, "mark", nil, nil},
	{"Libreswan, pfs with a group", `conn group
	left=101.101.101.101
	right=202.202.202.202
	authby=secret
	esp=aes256-sha2_512;dh20
	pfs=yes
`, "", func(c *Conn) bool { return c.PFS && groups(c.ESP.List, "ecp_384") && ciphers(c.ESP.List, "aes_cbc") }, nil},
	{"Libreswan, truncated SHA-2", `conn truncated
	left=101.101.101.101
	right=202.202.202.202
	authby=secret
	sha2-truncbug=yes
`, "sha2-truncbug", nil, nil},
	{"strongSwan, a pair with secrets", `conn strong
	keyexchange=ikev2
	left=101.101.101.101
	leftsubnet=192.168.100.0/24
	leftauth=psk
	right=202.202.202.202
	rightsubnet=192.168.200.0/24
	rightauth=psk
	ike=aes256gcm16-prfsha384-ecp384!
	esp=aes256gcm16-ecp384!
	auto=route
`, "", func(c *Conn) bool {
		return c.Version == 2 && authOf(c, ike.AuthPSK) && ciphers(c.IKE.List, "aes_gcm_16") && groups(c.IKE.List, "ecp_384") && c.Auto == AutoRoute
	}, nil},
	{"strongSwan, a weak hash", `conn weak
	keyexchange=ikev1
	left=101.101.101.101
	right=202.202.202.202
	authby=secret
	ike=aes128-sha1-modp1024!
	esp=aes128-sha1!
`, "", func(c *Conn) bool { return c.Version == 1 && groups(c.IKE.List, "modp_1024") }, []string{"sha1", "modp_1024"}},
	{"strongSwan, its name for aggressive mode", `conn quickly
	keyexchange=ikev1
	aggressive=yes
	left=101.101.101.101
	right=202.202.202.202
	authby=secret
`, "aggr", nil, nil},
	{"strongSwan, an address for the peer's choosing", `conn road
	keyexchange=ikev2
	left=101.101.101.101
	leftsubnet=0.0.0.0/0
	right=%any
	rightsourceip=10.9.0.0/24
	authby=secret
	auto=add
`, "", func(c *Conn) bool { return authOf(c, ike.AuthPSK) }, nil},
	{"strongSwan, an algorithm that nobody has here", `conn camellia
	left=101.101.101.101
	right=202.202.202.202
	authby=secret
	esp=camellia256-sha256
`, "esp", nil, nil},
	{"a word misspelt", `conn typo
	left=101.101.101.101
	right=202.202.202.202
	authby=secret
	disablearivalcheck=no
`, "disablearivalcheck", nil, nil},
}

// freeswanKey is a public key of 2192 bits in FreeS/WAN's form (RFC 2537), of
// exponent 3 and a modulus that nobody can factor, since nobody has tried.
var freeswanKey = "0sAQ" + strings.Repeat("PZ", 182) + "Pf"

func authOf(c *Conn, want ike.AuthMethod) bool {
	return slices.Equal(c.Left.Auth, []ike.AuthMethod{want}) && slices.Equal(c.Right.Auth, []ike.AuthMethod{want}) || len(c.Left.Auth)+len(c.Right.Auth) == 0 && slices.Equal(c.AuthBy, []ike.AuthMethod{want})
}

// modern: nothing is named, so that the defaults count.
func modern(c *Conn) bool { return c.IKE.Text == "" && c.ESP.Text == "" && !c.Legacy }

// ciphers reports whether all of list are of that one.
func ciphers(list []suite.Proposal, name string) bool {
	for _, p := range list {
		for _, e := range p.Encr {
			if e.Name != name {
				return false
			}
		}
	}
	return len(list) > 0
}

func groups(list []suite.Proposal, name string) bool {
	for _, p := range list {
		if len(p.KE) != 1 || p.KE[0].Name != name {
			return false
		}
	}
	return len(list) > 0
}

func TestAdv_CFG_18_Corpus(t *testing.T) {
	for _, x := range corpus {
		t.Run(x.name, func(t *testing.T) {
			f := ParseText("ipsec.conf", x.conf)
			name := x.conf[strings.LastIndex(x.conf, "conn ")+len("conn "):]
			name, _, _ = strings.Cut(name, "\n")
			c := f.Conn(name)
			if x.refused != "" {
				p := f.Problem(name)
				switch {
				case c != nil:
					t.Errorf("it is taken: %+v", c)
				case p == nil || !strings.Contains(p.Error(), x.refused) || !strings.HasPrefix(p.Error(), "ipsec.conf:"):
					t.Errorf("refused with %v, want something about %s", p, x.refused)
				}
				return
			}
			if c == nil {
				t.Fatalf("refused: %v", f.Errors)
			}
			if !x.sound(c) {
				t.Errorf("it means %+v", c)
			}
			weak := strings.ToLower(strings.Join(c.Obsolete, "\n"))
			for _, w := range x.warned {
				if !strings.Contains(weak, w) {
					t.Errorf("nothing is said of %s: %q", w, c.Obsolete)
				}
			}
			if len(x.warned) == 0 && weak != "" && c.Auto != AutoManual {
				t.Errorf("obsolete: %q", c.Obsolete)
			}
		})
	}
}

// A circle of also= is refused with the whole circle, and %default only counts
// for what comes after it, so it may not come later.
func TestAdv_CFG_03_Circles(t *testing.T) {
	const ends = "\tleft=192.0.2.1\n\tright=192.0.2.2\n"
	for _, x := range []struct{ conf, conn, says string }{
		{"conn a\n\talso=b\n" + ends + "conn b\n\talso=c\nconn c\n\talso=a\n", "a", "a -> b -> c -> a"},
		{"conn a\n\talso=a\n" + ends, "a", "a -> a"},
		{"conn x\n\talso=a\n" + ends + "conn a\n\talso=b\nconn b\n\talso=a\n", "x", "a -> b -> a"},
		{"conn %default\n\talso=x\nconn x\n\tkeylife=1h\nconn a\n" + ends, "a", "not allowed in a %default section"},
		{"conn a\n" + ends + "conn %default\n\tkeylife=1h\n", "a", "must precede"},
	} {
		f := ParseText("ipsec.conf", "version 2.0\n"+x.conf)
		if c := f.Conn(x.conn); c != nil {
			t.Errorf("%q: %s is taken", x.conf, x.conn)
		}
		if p := f.Problem(x.conn); p == nil || !strings.Contains(p.Error(), x.says) || !strings.HasPrefix(p.Error(), "ipsec.conf:") {
			t.Errorf("%q: %v, want %q", x.conf, p, x.says)
		}
	}
}

// No connection that IKE keys can do without replay protection, whatever it says.
func TestAdv_ESP_15_ReplayWindow(t *testing.T) {
	for _, value := range []string{"0", "-1", "1", "31", "no", "4097"} {
		f := ParseText("ipsec.conf", "version 2.0\nconn a\n\tleft=192.0.2.1\n\tright=192.0.2.2\n\tauthby=secret\n\treplay-window="+value+"\n")
		if c := f.Conn("a"); c != nil {
			t.Errorf("replay-window=%s: a window of %d", value, c.ReplayWindow)
		}
		if p := f.Problem("a"); p == nil || !strings.Contains(p.Error(), "ipsec.conf:6") || !strings.Contains(p.Error(), "replay-window") {
			t.Errorf("replay-window=%s: %v", value, p)
		}
	}
	for _, value := range []string{"", "\treplay-window=32\n", "\treplay-window=4096\n"} {
		f := ParseText("ipsec.conf", "version 2.0\nconn a\n\tleft=192.0.2.1\n\tright=192.0.2.2\n\tauthby=secret\n"+value)
		if c := f.Conn("a"); c == nil || c.ReplayWindow < 32 {
			t.Errorf("%q: %v", value, f.Errors)
		}
	}
}

// pq= is no keyword of ours. prefer is what is done anyway; require and never are
// said by ike=, and refused with that advice, not taken for granted.
func TestAdv_CFG_21_PQ(t *testing.T) {
	for _, value := range []string{"require", "never"} {
		f := ParseText("ipsec.conf", "version 2.0\nconn a\n\tleft=192.0.2.1\n\tright=192.0.2.2\n\tauthby=secret\n\tpq="+value+"\n")
		if p := f.Problem("a"); f.Conn("a") != nil || p == nil || !strings.Contains(p.Error(), "ike=") {
			t.Errorf("pq=%s: %v", value, p)
		}
	}
	f := ParseText("ipsec.conf", "version 2.0\nconn a\n\tleft=192.0.2.1\n\tright=192.0.2.2\n\tauthby=secret\n\tpq=prefer\n")
	if c := f.Conn("a"); c == nil || c.IKE.Text != "" || len(suite.DefaultIKEv2()[0].AddKE[0]) == 0 {
		t.Errorf("pq=prefer, which is what happens without a word: %v", f.Errors)
	}
	for _, x := range []struct {
		ike        string
		with, bare int // proposals with and without the additional exchange
	}{
		{"aes256gcm16-sha384-x25519-ke1_mlkem768", 1, 0},
		{"aes256gcm16-sha384-x25519-ke1_mlkem768,aes256gcm16-sha384-x25519", 1, 1},
		{"aes256gcm16-sha384-x25519", 0, 1},
	} {
		f := ParseText("ipsec.conf", "version 2.0\nconn a\n\tleft=192.0.2.1\n\tright=192.0.2.2\n\tauthby=secret\n\tike="+x.ike+"\n")
		c := f.Conn("a")
		if c == nil {
			t.Fatal(f.Errors)
		}
		with, bare := 0, 0
		for _, p := range c.IKE.List {
			if len(p.AddKE[0]) > 0 {
				with++
			} else {
				bare++
			}
		}
		if with != x.with || bare != x.bare {
			t.Errorf("ike=%s: %d proposals with, %d without, want %d and %d", x.ike, with, bare, x.with, x.bare)
		}
	}
}
