package main

import (
	"context"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"cygnet/internal/dnslab"
	"cygnet/internal/dnslab/labzones"
	"cygnet/internal/lab/labtest"
	"cygnet/internal/oe"
	"cygnet/internal/rawkey"
)

// labDNS makes the commands of this test ask a signed DNS of its own, and prove
// what it says.
func labDNS(t *testing.T, zones []dnslab.Zone, more string) (conf string, s *dnslab.Server) {
	t.Helper()
	conf = gateway(t)
	s, err := dnslab.New(zones, dnslab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	at, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	_, port, _ := strings.Cut(at, ":")
	putFile(t, filepath.Join(conf, "root.key"), s.Anchor())
	putFile(t, filepath.Join(conf, "ipsec.conf"), "version 2.0\nconfig setup\n\tresolver=127.0.0.1@"+port+"\n\tdnssec=validate\n\tdnssec-rootkey-file="+filepath.Join(conf, "root.key")+"\n"+more)
	return conf, s
}

func putFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// line reports whether a line of output is a label with a verdict.
func line(output, label, verdict string) bool {
	return regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(label) + ` *\t\[` + verdict + `\]$`).MatchString(output)
}

// E04: verify of hosts that can be reached and of those that cannot; the exit
// status is 0 only for the first.
func TestE04VerifyHosts(t *testing.T) {
	labDNS(t, labzones.Zones(), "")
	for args, c := range map[string]struct {
		exit  int
		lines map[string]string
	}{
		"--host alice.example.test": {0, map[string]string{
			"Looking for IPSECKEY in forward map: alice.example.test":       "MISSING",
			"Looking for IPSECKEY in reverse map: 10.2.0.192.in-addr.arpa.": "OK",
			"    DNSSEC": "SECURE",
			"    gateway 192.0.2.1, precedence 10, RSA 3072 bits, usable":  "OK",
			"Looking for IPSECKEY in reverse map: 1.2.0.192.in-addr.arpa.": "OK",
			"    same key as the client's record":                          "OK",
		}},
		"--ip 192.0.2.12":            {1, map[string]string{"Looking for IPSECKEY in reverse map: 12.2.0.192.in-addr.arpa.": "OK", "Looking for IPSECKEY in reverse map: 2.2.0.192.in-addr.arpa.": "MISSING"}},
		"--ip 192.0.2.22":            {1, map[string]string{"Looking for IPSECKEY in reverse map: 22.2.0.192.in-addr.arpa.": "MISSING", "Looking for TXT in reverse map: 22.2.0.192.in-addr.arpa.": "MISSING"}},
		"--ip 198.18.2.10":           {1, map[string]string{"Looking for IPSECKEY in reverse map: 10.2.18.198.in-addr.arpa.": "BOGUS"}},
		"--ip 198.18.8.10":           {1, map[string]string{"Looking for IPSECKEY in reverse map: 10.8.18.198.in-addr.arpa.": "OK", "    DNSSEC": "INSECURE"}},
		"--ip 192.0.2.18":            {1, map[string]string{"    a record that can be used": "UNUSABLE"}},
		"--host nobody.example.test": {1, map[string]string{"nobody.example.test has an address": "MISSING"}},
	} {
		r := runIpsec(t, strings.Fields("verify --dns-only "+args)...)
		if r.code != c.exit {
			t.Errorf("%s: exit %d, not %d: %s", args, r.code, c.exit, r.err)
		}
		for label, verdict := range c.lines {
			if !line(r.out, label, verdict) {
				t.Errorf("%s: no line %q [%s] in\n%s", args, label, verdict, r.out)
			}
		}
	}
	if r := runIpsec(t, "verify", "--dns-only", "--host", "alice.example.test"); !strings.Contains(r.out, "\nalice.example.test can be reached opportunistically through 192.0.2.1\n") {
		t.Errorf("%s", r.out)
	}
	if r := runIpsec(t, "verify", "--dns-only", "--ip", "192.0.2.1"); r.code != 0 || !line(r.out, "Looking for KEY in reverse map: 1.2.0.192.in-addr.arpa.", "DEPRECATED") {
		t.Errorf("a KEY record: exit %d\n%s", r.code, r.out)
	}
	if r := runIpsec(t, "verify", "--ip", "nowhere"); r.code != 2 {
		t.Errorf("--ip nowhere: exit %d", r.code)
	}
	if r := runIpsec(t, "verify", "--dns-only", "--ip", "192.0.2.22", "--colour"); !strings.Contains(r.out, "\x1b[31m[MISSING]\x1b[0m") {
		t.Errorf("no colours: %q", r.out)
	}
}

// R15.5, R15.7, R15.3: the manual's recipe for the zone of three nodes and their
// gateway, made by the commands; verify looks at node and gateway, and sees a
// record that is missing, and a node with another key than its gateway.
func TestR15_3_R15_5_R15_7_OpportunisticGateway(t *testing.T) {
	conf := gateway(t)
	if r := runIpsec(t, "newhostkey", "--quiet", "--bits", "2048"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	txt := runIpsec(t, "showhostkey", "--txt", "192.0.2.11").out
	var zone strings.Builder
	for node, name := range map[string]string{"11": "gateway", "9": "nine", "10": "ten", "12": "twelve"} {
		zone.WriteString(node + ".2.0.192.in-addr.arpa. IN PTR " + name + ".example.com.\n" + txt)
	}
	forward := "gateway IN A 192.0.2.11\nnine IN A 192.0.2.9\nten IN A 192.0.2.10\ntwelve IN A 192.0.2.12\n"
	secrets, err := os.ReadFile(filepath.Join(conf, "ipsec.secrets"))
	if err != nil {
		t.Fatal(err)
	}
	conf, s := labDNS(t, []dnslab.Zone{{Name: labzones.SiteA, Text: zone.String()}, {Name: "example.com.", Text: forward}}, "")
	putFile(t, filepath.Join(conf, "ipsec.secrets"), string(secrets))
	for _, host := range []string{"nine", "ten", "twelve", "gateway"} {
		r := runIpsec(t, "verify", "--dns-only", "--host", host+".example.com")
		if r.code != 0 || !line(r.out, "Looking for TXT in reverse map: 11.2.0.192.in-addr.arpa.", "OK") ||
			!strings.Contains(r.out, "can be reached opportunistically through 192.0.2.11\n") {
			t.Errorf("%s: exit %d\n%s", host, r.code, r.out)
		}
	}
	if r := runIpsec(t, "verify", "--dns-only", "--host", "nine.example.com"); !line(r.out, "Looking for TXT in reverse map: 9.2.0.192.in-addr.arpa.", "OK") {
		t.Errorf("%s", r.out)
	}
	// The gateway's own record is removed.
	if err := s.Replace(labzones.SiteA, "9 IN PTR nine.example.com.\n"+txt); err != nil {
		t.Fatal(err)
	}
	if r := runIpsec(t, "verify", "--dns-only", "--host", "nine.example.com"); r.code != 1 || !line(r.out, "Looking for TXT in reverse map: 11.2.0.192.in-addr.arpa.", "MISSING") {
		t.Errorf("no record of the gateway: exit %d\n%s", r.code, r.out)
	}
	// A node has another key than its gateway.
	other, err := rawkey.TXTRecord(10, "192.0.2.11", labzones.RSA("other", 2048))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Replace(labzones.SiteA, "11 IN PTR gateway.example.com.\n"+txt+"9 IN PTR nine.example.com.\n"+other+"\n"); err != nil {
		t.Fatal(err)
	}
	if r := runIpsec(t, "verify", "--dns-only", "--host", "nine.example.com"); r.code != 1 || !line(r.out, "    same key as the client's record", "MISMATCH") {
		t.Errorf("another key: exit %d\n%s", r.code, r.out)
	}
}

// E01: what showhostkey prints is accepted by the name servers' own tools, read
// by our reader, and has the same key.
func TestE01RecordsLoad(t *testing.T) {
	conf := gateway(t)
	for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
		_ = os.Remove(filepath.Join(conf, "ipsec.secrets"))
		if r := runIpsec(t, "newhostkey", "--quiet", "--bits", "2048", "--type", kind, "--hostname", kind); r.code != 0 {
			t.Fatalf("%+v", r)
		}
		forms := []string{"--ipseckey --gateway 192.0.2.11 --owner a.example.com", "--ipseckey --owner b.example.com", "--ipseckey --gateway gw.example.com --owner c.example.com", "--ipseckey --gateway 2001:db8::1 --owner d.example.com"}
		if kind == "rsa" {
			forms = append(forms, "--txt 192.0.2.11 --owner e.example.com", "--txt @gw.example.com --owner f.example.com", "--key --owner g.example.com")
		}
		zone := "$ORIGIN example.com.\n$TTL 60\n@ IN SOA ns hostmaster 1 3600 600 86400 30\n@ IN NS ns\nns IN A 192.0.2.53\n"
		for _, f := range forms {
			r := runIpsec(t, append([]string{"showhostkey"}, strings.Fields(f)...)...)
			if r.code != 0 {
				t.Fatalf("%s: %+v", f, r)
			}
			zone += r.out
		}
		file := filepath.Join(conf, kind+".zone")
		putFile(t, file, zone)
		for tool, args := range map[string][]string{"named-checkzone": {"example.com"}, "nsd-checkzone": {"example.com"}, "ldns-read-zone": nil} {
			t.Run(kind+" "+tool, func(t *testing.T) {
				path, err := exec.LookPath(tool)
				labtest.Need(t, err == nil, tool+" (packages bind9-utils, nsd, ldnsutils)")
				if out, err := exec.Command(path, append(args, file)...).CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
		sameKey(t, zone, runIpsec(t, "showhostkey", "--left").out)
	}
}

// sameKey compares the IPSECKEY records of a zone with the line of ipsec.conf.
func sameKey(t *testing.T, zone, conf string) {
	t.Helper()
	_, text, _ := strings.Cut(strings.TrimSpace(conf), "=0s")
	key, err := rawkey.Parse("0s" + text)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	p := mdns.NewZoneParser(strings.NewReader(strings.ReplaceAll(zone, "\n", "\n\n")), "", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if k, is := rr.(*mdns.IPSECKEY); is {
			n++
			field, alg, err := rawkey.DNSKey(key)
			if err != nil || k.Algorithm != alg || k.PublicKey != base64Of(field) {
				t.Errorf("%s", rr)
			}
		}
	}
	if p.Err() != nil || n != 4 {
		t.Errorf("%d IPSECKEY records, %v", n, p.Err())
	}
}

// C16: a resolver that does not validate makes verify fail, and gives no keys.
func TestC16VerifyResolver(t *testing.T) {
	conf, _ := labDNS(t, labzones.Zones(), "")
	text, err := os.ReadFile(filepath.Join(conf, "ipsec.conf"))
	if err != nil {
		t.Fatal(err)
	}
	putFile(t, filepath.Join(conf, "ipsec.conf"), strings.Replace(string(text), "dnssec=validate", "dnssec=ad", 1))
	r := runIpsec(t, "verify", "--dns-only", "--host", "alice.example.test")
	if r.code != 1 || !line(r.out, "Resolver 127.0.0.1 validates", "FAILED") || !line(r.out, "    DNSSEC", "INSECURE") {
		t.Errorf("exit %d\n%s", r.code, r.out)
	}
}

// `ipsec oe check' tells what was asked, what the records say, and what comes
// of it.
func TestOECheck(t *testing.T) {
	labDNS(t, labzones.Zones(), "")
	for host, c := range map[string]struct {
		exit  int
		lines []string
	}{
		"alice.example.test": {0, []string{"A packet for 192.0.2.10 is held, and the DNS is asked:", "  10.2.0.192.in-addr.arpa. IPSECKEY?  SECURE", "    gateway 192.0.2.1, precedence 10, RSA 3072 bits ...", "1. IKE goes to 192.0.2.1, who must prove RSA 3072 bits .... Level secure."}},
		"192.0.2.24":         {0, []string{"  passed over: 24.2.0.192.in-addr.arpa. TXT: malformed: precedence \"70000\" of a TXT is no number up to 65535"}},
		"192.0.2.13":         {0, []string{"  gwa.example.test. A?  SECURE", "    192.0.2.1"}},
		"192.0.2.23":         {1, []string{"  23.2.0.192.in-addr.arpa. IPSECKEY?  SECURE (no record)", "Nobody is called (no-record): 23.2.0.192.in-addr.arpa. IPSECKEY: no record.", "In private the packet is blocked, in private-or-clear it is sent in the clear."}},
		"198.18.2.10":        {1, []string{"In private the packet is blocked, in private-or-clear it is blocked, ..."}},
	} {
		r := runIpsec(t, "oe", "check", host)
		if r.code != c.exit {
			t.Errorf("%s: exit %d: %s", host, r.code, r.err)
		}
		for _, l := range c.lines {
			if !regexp.MustCompile(`(?m)^` + strings.ReplaceAll(regexp.QuoteMeta(l), `\.\.\.`, ".*") + `$`).MatchString(r.out) {
				t.Errorf("%s: no line %q in\n%s", host, l, r.out)
			}
		}
	}
	if r := runIpsec(t, "oe", "check", "alice.example.test", "--json"); r.code != 0 || !strings.Contains(r.out, `"reachable": true`) {
		t.Errorf("%+v", r)
	}
	if r := runIpsec(t, "oe"); r.code != 2 {
		t.Errorf("%+v", r)
	}
}

// E10: the administrator is found in the SOA above; a hostile one stays text.
func TestE10Mailkey(t *testing.T) {
	conf, _ := labDNS(t, labzones.Zones(), "")
	if r := runIpsec(t, "newhostkey", "--quiet", "--bits", "2048"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	r := runIpsec(t, "mailkey", "--me", "me@example.com", "--reverse", "192.0.2.77", "--dir", conf)
	mail, err := os.ReadFile(filepath.Join(conf, "OE_mail_192.0.2.77.eml"))
	if r.code != 0 || err != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, want := range []string{"To: hostmaster@2.0.192.in-addr.arpa\n", "Reply-To: me@example.com\n", "\n77.2.0.192.in-addr.arpa.\tIN\tIPSECKEY\t10 1 2 192.0.2.77 ", "\n77.2.0.192.in-addr.arpa.\tIN\tTXT\t\"X-IPsec-Server(10)=192.0.2.77\""} {
		if !strings.Contains(string(mail), want) {
			t.Errorf("no %q in\n%s", want, mail)
		}
	}
	if r := runIpsec(t, "mailkey", "--update", "--forward", "road.example.test"); r.code != 0 || !strings.HasPrefix(r.out, "update add road.example.test. 3600 IN IPSECKEY\t10 0 2 . ") {
		t.Errorf("%+v", r)
	}
	if r := runIpsec(t, "mailkey", "--me", "x\nBcc: y@example.com", "--forward", "a.test"); r.code != 2 {
		t.Errorf("a header in --me: %+v", r)
	}
}

// E10, the hostile part.
func TestE10HostileAdministrator(t *testing.T) {
	for name, want := range map[string]string{"hostmaster.example.com.": "hostmaster@example.com", `$(reboot).x.`: "", "`id`.x.": "", `a\010b.x.`: "", ".": ""} {
		soa, err := mdns.NewRR("x. 60 IN SOA ns.x. " + name + " 1 2 3 4 5")
		if err != nil {
			t.Fatal(err)
		}
		wire := make([]byte, 512)
		n, err := mdns.PackRR(soa, wire, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		rdata := wire[n-int(soa.Header().Rdlength) : n]
		if got := administrator(t.Context(), fixed{rdata}, "y.x."); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// fixed answers everything with one record.
type fixed struct{ rdata []byte }

func (f fixed) Lookup(context.Context, string, uint16) (oe.Answer, error) {
	return oe.Answer{Security: oe.Secure, Found: true, Raw: [][]byte{f.rdata}}, nil
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// dnslab's anchor belongs to the key that it keeps, and it serves what its files
// say.
func TestDnslab(t *testing.T) {
	conf := gateway(t)
	key := filepath.Join(conf, "root")
	first, again := runIpsec(t, "dnslab", "--key", key, "--anchor"), runIpsec(t, "dnslab", "--key", key, "--anchor")
	if first.code != 0 || first.out != again.out || !strings.Contains(first.out, "\tIN\tDS\t") {
		t.Errorf("%+v, %+v", first, again)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for _, args := range []string{"dnslab", "dnslab --key " + key + " x", "dnslab --key " + filepath.Join(conf, "ipsec.conf")} {
		putFile(t, filepath.Join(conf, "ipsec.conf"), "no key")
		if r := runIpsec(t, strings.Fields(args)...); r.code == 0 {
			t.Errorf("%s: %+v", args, r)
		}
	}
}
