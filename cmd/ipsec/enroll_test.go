package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/dnslab"
	"cygnet/internal/rawkey"
)

// E08, E06: enroll makes key and records, waits until they are seen, and only
// then demands encryption; again it changes nothing; it withdraws what it did.
func TestE08Enroll(t *testing.T) {
	conf := gateway(t)
	const secret = "c2VjcmV0IG9mIHRoZSBlbnJvbG1lbnQga2V5"
	s, err := dnslab.New([]dnslab.Zone{{Name: "10.in-addr.arpa."}}, dnslab.Options{Updates: map[string]dnslab.UpdateKey{"e.": {Secret: secret, Owners: []string{"10.in-addr.arpa."}}}})
	if err != nil {
		t.Fatal(err)
	}
	at, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(at)
	putFile(t, filepath.Join(conf, "root.key"), s.Anchor())
	putFile(t, filepath.Join(conf, "tsig"), "key \"e\" { algorithm hmac-sha256; secret \""+secret+"\"; };\n")
	putFile(t, filepath.Join(conf, "ipsec.conf"), "version 2.0\nconfig setup\n\tresolver=127.0.0.1@"+port+"\n\tdnssec=validate\n\tdnssec-rootkey-file="+filepath.Join(conf, "root.key")+"\n")
	args := []string{"enroll", "--address", "10.1.7.1", "--clients", "10.1.7.0/29", "--server", at, "--tsig", filepath.Join(conf, "tsig"), "--policy", "10.0.0.0/8"}
	first, again := runIpsec(t, args...), runIpsec(t, args...)
	for what, r := range map[string]result{"first": first, "again": again} {
		if r.code != 0 || !strings.Contains(r.out, "proven by DNSSEC, and the key is ours") || !strings.Contains(r.out, "clients        5 records") {
			t.Errorf("%s: %+v", what, r)
		}
	}
	if !strings.Contains(first.out, ", new\n") || !strings.Contains(first.out, "10.0.0.0/8, 1 new") || !strings.Contains(again.out, ", there already\n") || !strings.Contains(again.out, "10.0.0.0/8, 0 new") {
		t.Errorf("%s\n%s", first.out, again.out)
	}
	if group, err := os.ReadFile(filepath.Join(conf, "ipsec.d", "policies", "private")); string(group) != "10.0.0.0/8\n" {
		t.Errorf("%q, %v", group, err)
	}
	if r := runIpsec(t, "oe", "check", "10.1.7.5"); r.code != 0 || !strings.Contains(r.out, "1. IKE goes to 10.1.7.1, who must prove Ed25519 ") {
		t.Errorf("%+v", r)
	}
	if r := runIpsec(t, append(args, "--remove")...); r.code != 0 || !strings.Contains(r.out, "withdrawn      6 names") {
		t.Errorf("%+v", r)
	}
	if r := runIpsec(t, "oe", "check", "10.1.7.5"); r.code != 1 || !strings.Contains(r.out, "(no-record)") {
		t.Errorf("%+v", r)
	}
	for _, bad := range []string{"--policy 10.0.0.0/33", "--policy 10.0.0.1/8-tcp", "--policy #", "--policy 10.0.0.0/8 --group nobody", "--policy 10.0.0.0/8 --group ../../etc/x"} {
		if r := runIpsec(t, append(slices.Clone(args[:9]), strings.Fields(bad)...)...); r.code != 2 || r.out != "" || !strings.Contains(r.err, strings.Fields(bad)[0]) && !strings.Contains(r.err, "--group") {
			t.Errorf("%s: %+v", bad, r)
		}
	}
	for _, bad := range []string{"enroll --address 10.1.7.1", "enroll --address x --print", "enroll --batch f", "enroll --address 10.1.7.1 --clients 10.0.0.0/8 --print"} {
		if r := runIpsec(t, strings.Fields(bad)...); r.code != 2 {
			t.Errorf("%s: %+v", bad, r)
		}
	}
}

// --policy adds the entries that a group does not have, however they are written;
// the file keeps its mode, and a new one is no secret.
func TestEnrollPolicyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policies", "private")
	check := func(lines []string, added int, text string, mode os.FileMode) {
		t.Helper()
		n, err := addPolicy(file, lines)
		b, _ := os.ReadFile(file)
		info, statErr := os.Stat(file)
		if err != nil || statErr != nil || n != added || string(b) != text || info.Mode().Perm() != mode {
			t.Errorf("%v: %d added, %v, %q, %v", lines, n, err, b, info.Mode())
		}
	}
	check([]string{"10.0.0.0/8", "10.0.0.0/8 # twice"}, 1, "10.0.0.0/8\n", 0o644)
	if err := os.WriteFile(file, []byte("  10.0.0.0/8 # ours\n192.0.2.1"), 0o640); err != nil || os.Chmod(file, 0o640) != nil {
		t.Fatal(err)
	}
	check([]string{"10.0.0.0/8", "192.0.2.1/32"}, 0, "  10.0.0.0/8 # ours\n192.0.2.1", 0o640)
	check([]string{"10.0.0.0/8 tcp 0 25", "192.0.2.2"}, 2, "  10.0.0.0/8 # ours\n192.0.2.1\n10.0.0.0/8 tcp 0 25\n192.0.2.2\n", 0o640)
}

// A list of gateways becomes a directory for each, and one text for the zone.
// Done again, all keys are the same.
func TestEnrollBatch(t *testing.T) {
	conf := gateway(t)
	var list strings.Builder
	for n := range 50 {
		fmt.Fprintf(&list, "10.2.%d.1,10.2.%d.0/30\n", n, n)
	}
	putFile(t, filepath.Join(conf, "list"), list.String())
	args := []string{"enroll", "--batch", filepath.Join(conf, "list"), "--output", filepath.Join(conf, "out")}
	first, again := runIpsec(t, args...), runIpsec(t, args...)
	if first.code != 0 || first.out != again.out || strings.Count(first.out, "\n") != 100 {
		t.Fatalf("%d lines, %+v", strings.Count(first.out, "\n"), first.err)
	}
	own, err := keyOfMember(filepath.Join(conf, "out", "10.2.7.1"))
	if err != nil || !strings.Contains(first.out, "1.7.2.10.in-addr.arpa.\tIN\tIPSECKEY\t10 1 4 10.2.7.1 "+rawkey.KeyID(own)) {
		t.Errorf("%v", err)
	}
	if _, err := dnslab.New([]dnslab.Zone{{Name: "10.in-addr.arpa.", Text: first.out}}, dnslab.Options{}); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(filepath.Join(conf, "out", "10.2.7.1", "ipsec.secrets"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// E05: a key is added to what is there, with a warning; whoever reads the file
// meanwhile sees the old one or the new one.
func TestE05NewhostkeyAppends(t *testing.T) {
	conf := gateway(t)
	file := filepath.Join(conf, "ipsec.secrets")
	putFile(t, file, ": PSK \"something\"") // without an end of line
	r := runIpsec(t, "newhostkey", "--output", file, "--type", "ecdsa", "--hostname", "one")
	text, err := os.ReadFile(file)
	if r.code != 0 || err != nil || string(text) != ": PSK \"something\"\n: PKCS8 one.pem\n" || !strings.Contains(r.err, "exists, appending to it") {
		t.Errorf("%+v\n%s", r, text)
	}
	if r := runIpsec(t, "newhostkey", "--output", file, "--quiet", "--type", "ed25519", "--hostname", "two", "--id", "@two.example.com"); r.code != 0 || r.err != "" {
		t.Errorf("--quiet: %+v", r)
	}
	if r := runIpsec(t, "showhostkey", "--left", "--id", "@two.example.com"); r.code != 0 || !strings.Contains(r.out, "leftpubkey=0s") {
		t.Errorf("%+v", r)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(conf, ".ipsec.secrets.*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	// What cannot be written leaves the old file as it is.
	if err := os.Mkdir(filepath.Join(conf, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := replaceSecret(filepath.Join(conf, "full"), []byte("x"), nil); err == nil {
		t.Error("a directory is replaced")
	}
}

// E02: the strings of TXT records of long keys.
func TestE02LongKeys(t *testing.T) {
	for _, bits := range []string{"2192", "4096"} {
		gateway(t)
		if r := runIpsec(t, "newhostkey", "--quiet", "--bits", bits); r.code != 0 {
			t.Fatalf("%+v", r)
		}
		record := runIpsec(t, "showhostkey", "--txt", "192.0.2.1").out
		var joined strings.Builder
		for i, part := range strings.Split(record, `"`) {
			if i%2 == 0 {
				continue
			}
			if len(part) > 255 {
				t.Errorf("%s bits: a string of %d octets", bits, len(part))
			}
			joined.WriteString(part)
		}
		text, ok := strings.CutPrefix(joined.String(), "X-IPsec-Server(10)=192.0.2.1 ")
		if key, err := rawkey.Parse("0s" + text); !ok || err != nil || rawkey.Describe(key) != "RSA "+bits+" bits" {
			t.Errorf("%s bits: %v", bits, err)
		}
	}
}

// E03: a key in FreeS/WAN's form, exponent 3 and all, is the same key to
// showhostkey and to rsasigkey --oldkey.
func TestE03OldKeys(t *testing.T) {
	conf := gateway(t)
	block := runIpsec(t, "rsasigkey", "--e", "3", "--hostname", "old.example.com", "2048")
	if block.code != 0 || !strings.Contains(block.out, "\tPublicExponent: 0x03\n") {
		t.Fatalf("%+v", block)
	}
	putFile(t, filepath.Join(conf, "ipsec.secrets"), ": RSA\t{\n"+block.out+"\t}\n")
	putFile(t, filepath.Join(conf, "old"), block.out)
	shown, again := runIpsec(t, "showhostkey", "--left"), runIpsec(t, "rsasigkey", "--oldkey", filepath.Join(conf, "old"))
	_, key, _ := strings.Cut(strings.TrimSpace(shown.out), "leftrsasigkey=")
	if shown.code != 0 || again.code != 0 || !strings.HasPrefix(key, "0sAQ") || !strings.Contains(again.out, "#pubkey="+key+"\n") {
		t.Errorf("%s\n%s%s", shown.out, again.out, again.err)
	}
}

// livetest's echo answers with whom it saw, and nobody else's datagrams.
func TestLivetestEcho(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(pc.LocalAddr().String())
	_ = pc.Close()
	done := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { done <- serveEcho(ctx, at.Port()) }()
	var seen netip.AddrPort
	for seen, err = echo(ctx, at, 1400, ikeWait); err != nil && ctx.Err() == nil; {
		seen, err = echo(ctx, at, 1400, ikeWait) // until it listens
	}
	if err != nil || !seen.Addr().IsLoopback() {
		t.Errorf("%s, %v", seen, err)
	}
	c, err := net.Dial("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, other := range [][]byte{[]byte("hello"), []byte(liveMagic), bytes.Repeat([]byte{'x'}, 100)} {
		if _, err := c.Write(other); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := echo(ctx, at, 64, ikeWait); err != nil { // answered after those
		t.Error(err)
	}
	_ = c.SetReadDeadline(time.Unix(1, 0))
	if n, err := c.Read(make([]byte, 100)); err == nil {
		t.Errorf("%d octets for nothing", n)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestLivetestUsage(t *testing.T) {
	gateway(t)
	for _, args := range []string{"livetest", "livetest --serve --peer x"} {
		if r := runIpsec(t, strings.Fields(args)...); r.code != 2 {
			t.Errorf("%s: %+v", args, r)
		}
	}
}
