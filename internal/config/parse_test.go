package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

func printed(t testing.TB, f *File) string {
	t.Helper()
	var b strings.Builder
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// hasManualKeys reports whether printing left keys out.
func hasManualKeys(f *File) bool {
	return slices.ContainsFunc(f.Conns, func(c *Conn) bool {
		return slices.ContainsFunc([]ManualKeys{c.Manual.Keys, c.Left.Manual, c.Right.Manual}, func(k ManualKeys) bool {
			return k.ESPEnc.Len()+k.ESPAuth.Len()+k.AHSecret.Len() > 0
		})
	})
}

// roundTrip checks CFG-19: what is printed reads as the same model.
func roundTrip(t testing.TB, f *File) {
	t.Helper()
	if f.Err() != nil || hasManualKeys(f) {
		return
	}
	text := printed(t, f)
	again := ParseText(f.Name, text)
	if len(again.Errors) > 0 {
		t.Fatalf("the printed text is in error: %v\n%s", again.Errors, text)
	}
	if twice := printed(t, again); twice != text {
		t.Fatalf("printed again, the text differs:\n%s", cmp.Diff(text, twice))
	}
	for _, c := range f.Conns {
		if d := cmp.Diff(*c, *again.Conn(c.Name), sameModel); d != "" {
			t.Errorf("conn %s differs after printing and reading:\n%s", c.Name, d)
		}
	}
}

// sameModel ignores places, the name before leftsubnets= was expanded, public
// keys (their texts are in what is printed) and what follows from texts.
var sameModel = cmp.Options{
	cmp.FilterPath(func(p cmp.Path) bool {
		return slices.Contains([]string{".Where", ".Keys", ".Alias", ".List"}, p.Last().String())
	}, cmp.Ignore()),
	cmp.FilterValues(func(a, b map[string]string) bool { return len(a)+len(b) == 0 }, cmp.Ignore()),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b ipsec.Secret) bool { return a.Equal(b) }),
	cmp.AllowUnexported(End{}, source{}),
}

// adversary.md CFG-19.
func TestRoundTrip(t *testing.T) {
	names, err := filepath.Glob("testdata/conf/*.txt")
	if err != nil || len(names) < 20 {
		t.Fatal(len(names), err)
	}
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fsys := MapFS{Files: make(map[string]string)}
		for _, f := range a.Files {
			fsys.Files[f.Name] = string(f.Data)
		}
		t.Run(filepath.Base(name), func(t *testing.T) { roundTrip(t, Parse(fsys, "ipsec.conf")) })
	}
}

// The default that each row of the tables documents is the default it has.
func TestKeywordDefaults(t *testing.T) {
	setup, conn := newSetup(Dialect2), newConn(Dialect2)
	checkDefaults(t, setupKeys, &setup)
	checkDefaults(t, connKeys, &conn)
	checkDefaults(t, endKeys, &conn.Left)
}

func checkDefaults[T any](t *testing.T, table []keyword[T], blank *T) {
	for i := range table {
		k := &table[i]
		if got := k.field.print(blank); got != k.def && !(got == "" && k.use != acts) && got != "0s" {
			t.Errorf("%q: the default prints as %q, documented is %q", k.name, got, k.def)
		}
		if k.doc == "" || k.kind == "" || (k.use == acts) != (k.why == "") {
			t.Errorf("%q: row is incomplete", k.name)
		}
		if k.def == "" || k.use != acts {
			continue
		}
		fresh := *blank
		if err := k.field.parse(&fresh, value{k.name, k.def, Pos{}}); err != nil {
			t.Errorf("%q: its default %q does not read: %v", k.name, k.def, err)
		}
	}
}

// No name stands for two things, and every documented one is known: those of
// freeswan.md 2.7 to 2.12.
func TestKeywordNames(t *testing.T) {
	for _, kind := range []string{"config", "conn"} {
		seen := make(map[string]bool)
		for _, n := range KeywordNames(kind) {
			if seen[fold(n)] {
				t.Errorf("%s: %q is in the tables twice", kind, n)
			}
			seen[fold(n)] = true
		}
	}
	for kind, names := range map[string]string{
		"config": `interfaces myid forwardcontrol rp_filter syslog klipsdebug plutodebug plutoopts plutostderrlog plutorestartoncrash
			dumpdir manualstart pluto plutowait prepluto postpluto fragicmp hidetos uniqueids overridemtu nocrsend strictcrlpolicy crlcheckinterval
			plutoload plutostart dump plutobackgroundload no_eroute_pass opportunistic packetdefault
			virtual_private nat_traversal force_keepalive keep_alive disable_port_floating
			protostack listen nhelpers oe plutostderrlogtime logfile logtime ikev1-policy ddos-mode shuntlifetime secretsfile ipsecdir allow-legacy allow-manual secretsperm`,
		"conn": `type left right leftsubnet leftnexthop leftupdown leftfirewall keyexchange auto authby auth leftid leftrsasigkey leftrsasigkey2 pfs keylife rekey
			rekeymargin rekeyfuzz keyingtries ikelifetime compress disablearrivalcheck failureshunt leftcert leftca leftsubnetwithin leftprotoport
			spi spibase esp espenckey leftespenckey espauthkey rightespauthkey espreplay_window leftespspi rightespspi ah ahkey leftahkey ahreplay_window leftahspi rightahspi
			lifetime rekeystart rekeytries ike phase2alg phase2 ikev2 salifetime ipsec-lifetime margintime leftauth rightauth dpddelay dpdtimeout dpdaction leftsourceip
			leftsubnets leftsendcert forceencaps encapsulation enable-tcp tcp-remoteport fragmentation mobike esn replay-window narrowing reauth rightaddresspool modecfgdns leftxauthserver
			aggrmode aggressive metric mtu mark vti-interface ipsec-interface priority overlapip sareftrack loopback labeled_ipsec nm_configured remote_peer_type
			sha2_truncbug ms-dh-downgrade connaddrfamily hostaddrfamily clientaddrfamily closeaction inactivity lifebytes lifepackets marginbytes negotiationshunt
			legacy ipseclifetime rekeywindow allow-noauth leftpubkey`,
	} {
		for _, n := range strings.Fields(names) {
			if _, _, ok := resolve(kind, n); !ok {
				t.Errorf("%s: %q is not known", kind, n)
			}
		}
	}
}

// The vectors of freeswan.md 8.3, item 1.
// R2.1, R2.3.
func TestParseSubnet(t *testing.T) {
	for text, want := range map[string]string{
		"192.168.103.70/28": "192.168.103.64/28", "10/8": "10.0.0.0/8", "1.2.3.0/255.255.254.0": "1.2.2.0/23", "%default": "0.0.0.0/0",
		"0.0.0.0/0": "0.0.0.0/0", "1.2.3.4": "1.2.3.4/32", "1.2.3.4/0.0.0.0": "0.0.0.0/0", "::/0": "::/0", "2001:db8::1/64": "2001:db8::/64",
		"1.2.3.0/255.0.255.0": "", "1.2.3.4/33": "", "1.2.3.4/-1": "", "1.2.3.4/": "", "/24": "", "2001:db8::/129": "", "2001:db8::/255.0.0.0": "", "1.2.3.4/1e1": "",
	} {
		p, _, err := ParseSubnet(text)
		if (err == nil) != (want != "") || want != "" && p.String() != want {
			t.Errorf("ParseSubnet(%q) = %v, %v; want %q", text, p, err, want)
		}
	}
	if _, cleared, _ := ParseSubnet("10.0.0.1/24"); !cleared {
		t.Error("cleared host bits are not reported")
	}
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]string{
		"10": "10.0.0.0", "010.1.1.1": "10.1.1.1", "0xC0000201": "192.0.2.1", "0h010200C0": "192.0.2.1", "192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::1", "::ffff:1.2.3.4": "1.2.3.4",
		"256": "", "1.2.3.4.5": "", "1..2": "", "": "", "0x1": "", "0xC00002011": "", "fe80::1%eth0": "", "a.b.c.d": "", "+1": "", "1_0": "",
	} {
		a, err := ParseAddress(text)
		if (err == nil) != (want != "") || want != "" && a.String() != want {
			t.Errorf("ParseAddress(%q) = %v, %v; want %q", text, a, err, want)
		}
	}
}

// The vectors of freeswan.md 8.3, item 2, and CFG-04.
func TestParseSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90": 90 * time.Second, "90s": 90 * time.Second, "1.5m": 90 * time.Second, "0.5h": 30 * time.Minute, "2d": 48 * time.Hour, "0": 0, "1.999m": 119 * time.Second, "500ms": 500 * time.Millisecond,
		"1,5h": -1, "h": -1, "-1": -1, "": -1, "1.5": -1, "1.5s": -1, "1d1d": -1, "9223372036854775807": -1, "9223372036854775808d": -1, "1e3": -1, "1.h": -1, ".5h": -1, "+1": -1, "999999999.9d": -1, "0x10": -1,
	} {
		d, err := parseSpan(text, time.Second)
		if (err == nil) != (want >= 0) || err == nil && d != want {
			t.Errorf("parseSpan(%q) = %v, %v; want %v", text, d, err, want)
		}
	}
}

func TestParseProtoPort(t *testing.T) {
	for text, want := range map[string]string{
		"tcp": "6", "6/80": "6/80", "udp/bootps": "17/67", "tcp/%any": "6", "tcp/0": "6", "%any": "", "icmp/8": "1/8", "ipv6-icmp/128": "58/128", "sctp/1-5": "132/1-5", "253": "253", "tcp/0-65535": "6", "TCP/HTTP": "6/80",
		"tcp/": "6", "icmp/300": "error", "tcp/5-1": "error", "tcp/-1": "error", "%any/80": "error", "0/80": "error", "256": "error", "tcp/80/81": "error", "": "error", "47/1": "error",
	} {
		proto, ports, err := ParseProtoPort(text)
		got := formatProtoPort(proto, ports)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("ParseProtoPort(%q) = %s (%v), want %s", text, got, err, want)
		}
	}
}

// A golden file shows all of it; this is how the daemon meets it.
func TestFileLookups(t *testing.T) {
	f := ParseText("c", "conn a\n left=192.0.2.1\n right=198.51.100.1\n authby=secret\n leftsubnets={10.1.0.0/24 10.2.0.0/24}\nconn b\n left=192.0.2.1\n typo=1\nconn base\n left=192.0.2.1\nconn d\n also=base\n right=198.51.100.9\n authby=secret\n")
	if len(f.Named("a")) != 2 || f.Conn("a/2x0") == nil || f.Conn("a") != nil || f.Conn("d") == nil {
		t.Error("connections are not found by name and alias")
	}
	if p := f.Problem("b"); p == nil || p.Line != 8 || p.Key != "typo" {
		t.Errorf("Problem(b) = %v", p)
	}
	if p := f.Problem("base"); p == nil || p.Key != "right" {
		t.Errorf("Problem(base) = %v", p)
	}
	if p := f.Problem("nobody"); p != nil {
		t.Errorf("Problem of a connection that does not exist = %v", p)
	}
	if f.Err() != nil || len(f.Errors) != 1 {
		t.Errorf("errors %v", f.Errors)
	}
	if c := f.Conn("a/1x0"); c.Keys["leftsubnets"].Line != 5 || c.Keys["left"] != (Pos{"c", 2}) || c.Where != (Pos{"c", 1}) {
		t.Errorf("places: %v, %v", c.Where, c.Keys)
	}
	if d, action := f.Conn("d").Liveness(); d != 30*time.Second || action != ike.DPDHold {
		t.Errorf("liveness %v, %v", d, action)
	}
}

// The built-in connections of freeswan.md 2.14.
func TestImplicitConns(t *testing.T) {
	r := &reader{fsys: MapFS{Files: map[string]string{"c": "conn private\n auto=ignore\n"}}, infos: map[string]Info{}}
	r.readAll("c")
	f := &builder{File: &File{Setup: newSetup(Dialect2)}, doc: collect(r.out), warned: make(map[Problem]bool)}
	f.conns()
	var got []string
	for _, c := range f.Conns {
		if !c.Implicit || c.Left.Host.Kind != HostDefaultRoute || c.Left.ID.Kind != IdentityMyID || c.Auto != AutoRoute {
			t.Errorf("%s: %+v", c.Name, c)
		}
		shunt, _ := c.Shunt()
		got = append(got, fmt.Sprintf("%s %v %v group=%v oe=%v tries=%d life=%v rekey=%v", c.Name, shunt, c.Failure, c.Group(), c.Opportunistic(), c.KeyingTries, c.KeyLife, c.Rekey))
	}
	want := []string{
		"packetdefault %drop 1 group=false oe=true tries=3 life=1h0m0s rekey=false",
		"clear %pass 0 group=true oe=false tries=0 life=8h0m0s rekey=true",
		"clear-or-private %pass 1 group=true oe=true tries=3 life=1h0m0s rekey=false",
		"private-or-clear %drop 1 group=true oe=true tries=3 life=1h0m0s rekey=false",
		"block %reject 0 group=true oe=false tries=0 life=8h0m0s rekey=true",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// R10.5 and R10.9: keys that others can read.
func TestExposedManualKeys(t *testing.T) {
	const text = "conn m\n left=192.0.2.1\n right=198.51.100.1\n spi=0x200\n esp=aes128-sha1\n espenckey=0x01234567_89abcdef_02468ace_13579bdf_12345678_9abcdef0\n"
	f := Parse(MapFS{Files: map[string]string{"c": text}, Infos: map[string]Info{"c": {Mode: 0o644, Trusted: true}}}, "c")
	var got []string
	for _, w := range f.Warnings {
		got = append(got, w.Error())
	}
	for _, want := range []string{"c:6: espenckey: this file holds keys and has mode 0644, open to group or others (chmod 600 c)", `c:6: espenckey: connection "m" uses an example key of the documentation (make keys with ipsec ranbits)`} {
		if !slices.Contains(got, want) {
			t.Errorf("no warning %q in %q", want, got)
		}
	}
}

// CFG-01 and CFG-02: bounds and odd octets.
func TestBounds(t *testing.T) {
	files := map[string]string{"c": "include all/*.conf\nconn x\n left=192.0.2.1\n right=198.51.100.1\n"}
	for i := range 10000 {
		files[fmt.Sprintf("all/%05d.conf", i)] = "# nothing\n"
	}
	for name, c := range map[string]struct {
		fsys MapFS
		want string
	}{
		"10,000 files":   {MapFS{Files: files}, "c:1: include: more than 4096 files"},
		"1 MiB line":     {MapFS{Files: map[string]string{"c": "conn x\n left=" + strings.Repeat("1", 1<<20) + "\n"}}, "c:2: line is longer than 262144 octets"},
		"long key line":  {MapFS{Files: map[string]string{"c": "conn x\n left=192.0.2.1\n leftrsasigkey=0s" + strings.Repeat("AAAA", 1<<14) + "\n"}}, "c:3: leftrsasigkey: RSA key:"},
		"NUL":            {MapFS{Files: map[string]string{"c": "conn x\n leftid=@a\x00b\n"}}, "c:2: leftid: parameter \"leftid\" contains unprintable character"},
		"NUL in header":  {MapFS{Files: map[string]string{"c": "conn x\x00y\n"}}, "c:1: line contains unprintable character"},
		"BOM":            {MapFS{Files: map[string]string{"c": "\xef\xbb\xbfconn x\n"}}, "c:1: file begins with a byte order mark"},
		"too many pairs": {MapFS{Files: map[string]string{"c": "conn x\n left=192.0.2.1\n right=198.51.100.1\n authby=secret\n leftsubnets={" + manySubnets(100) + "}\n rightsubnets={" + manySubnets(100) + "}\n"}}, "c:1: 100 left and 100 right subnets make more than 4096 connections"},
	} {
		f := Parse(c.fsys, "c")
		if len(f.Errors) == 0 || !strings.HasPrefix(f.Errors[0].Error(), c.want) {
			t.Errorf("%s: errors %.200v", name, f.Errors)
		}
	}
}

func manySubnets(n int) string {
	var words []string
	for i := range n {
		words = append(words, fmt.Sprintf("10.%d.0.0/16", i))
	}
	return strings.Join(words, " ")
}

// R1.8 and R1.9: many connections load at once.
func TestManyConns(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "conn c%d\n left=192.0.2.1\n right=198.51.100.1\n leftsubnet=10.%d.%d.0/24\n authby=secret\n auto=add\n", i, i/256, i%256)
	}
	start := time.Now()
	f := ParseText("c", b.String())
	if len(f.Conns) != 5000+len(implicitConns) || len(f.Errors) > 0 {
		t.Fatalf("%d connections, %d errors", len(f.Conns), len(f.Errors))
	}
	t.Logf("5000 connections in %v", time.Since(start))
}

// FuzzConf: no text breaks the reader; what is printed reads as the same; and
// every problem has a place and is one line.
func FuzzConf(f *testing.F) {
	names, err := filepath.Glob("testdata/conf/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(a.Files[0].Data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		file := ParseText("c", text)
		for _, p := range append(file.Errors, file.Warnings...) {
			if line := p.Error(); !strings.HasPrefix(line, "c:") || strings.ContainsAny(line, "\n\r\x00\x1b") {
				t.Fatalf("problem %q", line)
			}
		}
		roundTrip(t, file)
	})
}

// FuzzSecrets: no text breaks the reader, and no message shows a secret that
// was read.
func FuzzSecrets(f *testing.F) {
	names, err := filepath.Glob("testdata/secrets/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(a.Files[0].Data))
	}
	f.Add(rsaEntry(f, "@west"))
	f.Fuzz(func(t *testing.T, text string) {
		s := parseSecrets(text)
		for _, p := range append(s.Errors, s.Warnings...) {
			if line := p.Error(); !strings.HasPrefix(line, "s:") || strings.ContainsAny(line, "\n\r\x00\x1b") {
				t.Fatalf("problem %q", line)
			}
		}
		for _, e := range s.Entries {
			if (e.Kind == SecretPSK) != (e.PSK.Len() > 0) || (e.Kind == SecretPrivate) != (e.Private.Signer() != nil) {
				t.Fatalf("entry without its secret: %+v", e)
			}
		}
	})
}
