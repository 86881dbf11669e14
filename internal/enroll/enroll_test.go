package enroll

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cygnet/internal/dns"
	"cygnet/internal/dnslab"
	"cygnet/internal/oe"
	"cygnet/internal/resolve"
)

func keyFor(text string) ed25519.PublicKey {
	seed := sha256.Sum256([]byte(text))
	return ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
}

func TestMembers(t *testing.T) {
	all, err := Read(strings.NewReader("# the two sites\n10.1.7.1, 10.1.7.0/30\n2001:db8::1,2001:db8:7::/64\n"))
	if err != nil || len(all) != 2 || all[1].Clients[0].String() != "2001:db8:7::/64" {
		t.Fatalf("%+v, %v", all, err)
	}
	lines, err := all[0].Records(keyFor("x"))
	if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[0], "1.7.1.10.in-addr.arpa.\tIN\tIPSECKEY\t10 1 4 10.1.7.1 ") || !strings.HasPrefix(lines[1], "2.7.1.10.in-addr.arpa.\t") {
		t.Errorf("%q, %v", lines, err)
	}
	if _, err := all[1].Records(keyFor("x")); err == nil || !strings.Contains(err.Error(), "wildcard") {
		t.Errorf("2^64 records: %v", err)
	}
	all[1].Wildcard = true
	if owners, err := all[1].Owners(); err != nil || len(owners) != 2 || owners[1] != "*.0.0.0.0.7.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa." {
		t.Errorf("%q, %v", owners, err)
	}
	for text, want := range map[string]string{
		"10.0.0.1\n10.0.0.1\n": "line 2: 10.0.0.1 stands in line 1 already", "x\n": `line 1: "x" is not the address`, "127.0.0.1\n": "not the address",
		"10.0.0.1,10.0.0.5\n": "not a network", "10.0.0.1,2001:db8::/64\n": "another family", "\"\n": "",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTSIGKeys(t *testing.T) {
	k, err := ParseTSIG("key \"enroll.corp\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n")
	if err != nil || k.Name != "enroll.corp." || k.Algorithm != "hmac-sha256." {
		t.Errorf("%v, %v", k.Name, err)
	}
	for _, text := range []string{"", "key x", "secret x", "key \"x\" { algorithm hmac-md5; secret \"AA==\"; };", "key \"x\" { algorithm hmac-sha256; };"} {
		if _, err := ParseTSIG(text); err == nil {
			t.Errorf("%q is a key", text)
		}
	}
}

const secret = "c2VjcmV0IG9mIHRoZSBlbnJvbG1lbnQga2V5"

// island is a private reverse zone whose key "enroll." may write IPSECKEY
// records into it, and "one." at a single name.
func island(t testing.TB, text string) (u Updater, r *resolve.Resolver) {
	t.Helper()
	s, err := dnslab.New([]dnslab.Zone{{Name: "10.in-addr.arpa.", Text: text}}, dnslab.Options{Updates: map[string]dnslab.UpdateKey{
		"enroll.": {Secret: secret, Owners: []string{"10.in-addr.arpa."}}, "one.": {Secret: secret, Owners: []string{"1.7.1.10.in-addr.arpa."}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	at, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	anchors := dns.Anchors{}
	if err := anchors.Read(s.Anchor()); err != nil {
		t.Fatal(err)
	}
	if r, err = resolve.New(resolve.Options{Servers: []netip.AddrPort{netip.MustParseAddrPort(at)}, Method: resolve.BySelf, Anchors: anchors}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return Updater{Server: at, Zone: "10.in-addr.arpa.", Key: TSIG{"enroll.", "hmac-sha256.", secret}}, r
}

// find asks anew who may speak for an address.
func find(r *resolve.Resolver, a string) oe.Finding {
	r.Forget("")
	return resolve.Ask(context.Background(), r, oe.Gateways(netip.MustParseAddr(a), oe.Options{}))
}

func publish(t testing.TB, u Updater, address string, clients ...string) error {
	t.Helper()
	m, err := Parse(address, clients)
	if err != nil {
		t.Fatal(err)
	}
	owners, err := m.Owners()
	if err != nil {
		t.Fatal(err)
	}
	lines, err := m.Records(keyFor(address))
	if err != nil {
		t.Fatal(err)
	}
	return u.Publish(context.Background(), owners, lines)
}

// A gateway with 254 clients is published, published again, given another key,
// and withdrawn. E08: whatever was done before, the end is the same.
func TestE08PublishAgainAndWithdraw(t *testing.T) {
	u, r := island(t, "")
	for range 2 {
		if err := publish(t, u, "10.1.7.1", "10.1.7.0/24"); err != nil {
			t.Fatal(err)
		}
		for _, a := range []string{"10.1.7.1", "10.1.7.2", "10.1.7.254"} {
			if f := find(r, a); len(f.Offers) != 1 || f.Offers[0].Addr.String() != "10.1.7.1" || f.Offers[0].Level != oe.LevelSecure {
				t.Errorf("%s: %+v", a, f)
			}
		}
	}
	if f := find(r, "10.1.7.255"); f.Cause != oe.CauseNoRecord {
		t.Errorf("broadcast: %s", f.Cause)
	}
	m, _ := Parse("10.1.7.1", []string{"10.1.7.0/24"})
	owners, _ := m.Owners()
	if err := u.Withdraw(context.Background(), owners); err != nil {
		t.Fatal(err)
	}
	if f := find(r, "10.1.7.2"); f.Cause != oe.CauseNoRecord {
		t.Errorf("withdrawn: %s (%s)", f.Cause, f.Why)
	}
}

// E07: a key for updates can do what it is for and nothing else.
func TestE07KeysForUpdatesAreNarrow(t *testing.T) {
	u, r := island(t, "")
	one := u
	one.Key.Name = "one."
	if err := publish(t, one, "10.1.7.1"); err != nil {
		t.Error(err)
	}
	if err := publish(t, one, "10.1.7.9"); err == nil || !strings.Contains(err.Error(), "REFUSED") {
		t.Errorf("another owner: %v", err)
	}
	for _, line := range []string{"1.7.1.10.in-addr.arpa. IN A 10.9.9.9", "10.in-addr.arpa. IN NS ns.evil."} {
		if err := u.Publish(context.Background(), []string{"1.7.1.10.in-addr.arpa."}, []string{line}); err == nil || !strings.Contains(err.Error(), "REFUSED") {
			t.Errorf("%s: %v", line, err)
		}
	}
	forged := u
	forged.Key.secret = "YW5vdGhlciBzZWNyZXQ="
	if err := publish(t, forged, "10.1.7.9"); err == nil {
		t.Error("a forged signature is taken")
	}
	unknown := u
	unknown.Key.Name = "nobody."
	if err := publish(t, unknown, "10.1.7.9"); err == nil {
		t.Error("an unknown key is taken")
	}
	if f := find(r, "10.1.7.9"); f.Cause != oe.CauseNoRecord {
		t.Errorf("something was written: %s", f.Cause)
	}
}

// E06: a thousand gateways enter an empty zone, one update each. The next one
// changes the zone and its own machine only, and any two know enough of each
// other: who may speak for whom, and that he may.
func TestE06AThousandGateways(t *testing.T) {
	u, r := island(t, "")
	address := func(n int) string { return fmt.Sprintf("10.%d.%d.1", 1+n/250, n%250) }
	const members = 1000
	began := time.Now()
	for n := range members {
		if err := publish(t, u, address(n)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d updates in %s", members, time.Since(began).Round(time.Millisecond))
	before := find(r, address(17))
	if err := publish(t, u, address(members)); err != nil {
		t.Fatal(err)
	}
	if after := find(r, address(17)); fmt.Sprint(after.Offers) != fmt.Sprint(before.Offers) {
		t.Errorf("the 1001st changes the 17th: %+v", after)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		a, b := address(random.IntN(members+1)), address(random.IntN(members+1))
		if f := resolve.Ask(context.Background(), r, oe.Gateways(netip.MustParseAddr(b), oe.Options{})); len(f.Offers) != 1 || !keyFor(b).Equal(f.Offers[0].Key) {
			t.Errorf("%s asks about %s: %+v", a, b, f)
		}
		peer := oe.Speaker{Addr: netip.MustParseAddr(a)}
		if f := resolve.Ask(context.Background(), r, oe.MaySpeak(peer.Addr, peer, keyFor(a), oe.Options{})); f.Cause != oe.CauseNone {
			t.Errorf("%s is not believed to be %s: %s", a, a, f.Why)
		}
		if f := resolve.Ask(context.Background(), r, oe.MaySpeak(peer.Addr, peer, keyFor("evil"), oe.Options{})); f.Cause != oe.CauseUnlisted {
			t.Errorf("another key for %s: %s", a, f.Cause)
		}
	}
}
