package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

func id(t testing.TB, text string) ike.ID {
	t.Helper()
	v, err := ike.ParseID(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// index reads the part of a secret before the colon. A word that is no
// identity is a host name.
func index(text string) []config.Index {
	var out []config.Index
	for _, word := range strings.Fields(text) {
		var host *ike.HostNameError
		switch v, err := ike.ParseID(word); {
		case errors.As(err, &host):
			out = append(out, config.Index{Name: word})
		case v.IsZero():
			out = append(out, config.Index{Any: true})
		default:
			out = append(out, config.Index{ID: v})
		}
	}
	return out
}

func psk(idx, secret string) config.Secret {
	return config.Secret{Kind: config.SecretPSK, Index: index(idx), PSK: ipsec.NewSecret([]byte(secret))}
}

func private(idx string, key crypto.Signer) config.Secret {
	return config.Secret{Kind: config.SecretPrivate, Index: index(idx), Private: config.NewPrivateKey(key)}
}

func ring(opts Options, entries ...config.Secret) *Ring {
	r := New(opts)
	r.Set(&config.Secrets{Entries: entries})
	return r
}

const (
	a = "192.0.2.1"
	b = "198.51.100.1"
	c = "203.0.113.7"
)

// fixed is a connection of two known ends.
func fixed(t testing.TB, local, remote string) *ike.Conn {
	conn := &ike.Conn{Name: "fixed"}
	conn.Local.ID, conn.Remote.ID = id(t, local), id(t, remote)
	return conn
}

// road is the template of road warriors without rightid, and instance one of
// its instances.
func road(t testing.TB, local string) *ike.Conn {
	conn := &ike.Conn{Name: "road", Template: true}
	conn.Local.ID = id(t, local)
	return conn
}

func instance(t testing.TB, local, remote, addr string) *ike.Conn {
	conn := &ike.Conn{Name: "road", Instance: 1}
	conn.Local.ID, conn.Remote.ID, conn.Remote.Addr = id(t, local), id(t, remote), netip.MustParseAddr(addr)
	return conn
}

// freeswan.md 3.4 and 8.3 item 13.
// R9.2, R9.6: a line of its own wins, and names tell road warriors apart.
// adversary.md CFG-15.
func TestPSK(t *testing.T) {
	e1, e2, e3 := psk(a+" "+b, "1"), psk(a+" %any", "2"), psk("", "3")
	alice, bob := psk("@gw @alice", "for alice"), psk("@gw @bob", "for bob")
	for _, test := range []struct {
		name    string
		entries []config.Secret
		conn    *ike.Conn
		local   string
		remote  string
		want    string // empty: none
	}{
		{"pair", []config.Secret{e1, e2, e3}, fixed(t, a, b), a, b, "1"},
		{"pair, other order", []config.Secret{e3, e2, e1}, fixed(t, a, b), a, b, "1"},
		{"pair the other way round", []config.Secret{e1, e2, e3}, fixed(t, b, a), b, a, "1"},
		{"fixed stranger gets the default", []config.Secret{e1, e2, e3}, fixed(t, a, c), a, c, "3"},
		{"fixed stranger, no default", []config.Secret{e1, e2}, fixed(t, a, c), a, c, ""},
		{"template", []config.Secret{e1, e2, e3}, road(t, a), a, c, "2"},
		{"instance", []config.Secret{e1, e2, e3}, instance(t, a, c, c), a, c, "2"},
		{"instance, other order", []config.Secret{e2, e1, e3}, instance(t, a, c, c), a, c, "2"},
		{"instance is %any though its address has a line", []config.Secret{e1, e2, e3}, instance(t, a, b, b), a, b, "2"},
		{"instance behind NAT, known by its inner address", []config.Secret{e2, psk(a+" 10.0.0.5", "inner")}, instance(t, a, "10.0.0.5", c), a, "10.0.0.5", "inner"},
		{"instance behind NAT, unknown", []config.Secret{e2, e3}, instance(t, a, "10.0.0.5", c), a, "10.0.0.5", "2"},
		{"instance without wildcard", []config.Secret{e1, e3}, instance(t, a, c, c), a, c, "3"},
		{"0.0.0.0 is %any", []config.Secret{psk(a+" 0.0.0.0", "w")}, road(t, a), a, c, "w"},
		{"wildcard is not for others", []config.Secret{e2}, road(t, b), b, c, ""},
		{"ours alone", []config.Secret{psk(a, "own"), e3}, fixed(t, a, c), a, c, "own"},
		{"pair beats ours alone", []config.Secret{psk(a, "own"), e1}, fixed(t, a, b), a, b, "1"},
		{"theirs alone", []config.Secret{psk(b, "theirs")}, fixed(t, a, b), a, b, ""},
		{"several, peer not among them", []config.Secret{psk(a+" "+b+" 192.0.2.99", "x")}, fixed(t, a, c), a, c, ""},
		{"group of three", []config.Secret{psk(a+" "+b+" "+c, "x")}, fixed(t, b, c), b, c, "x"},
		{"road warriors by name, first", []config.Secret{alice, bob}, road(t, "@gw"), "@gw", "@alice", "for alice"},
		{"road warriors by name, second", []config.Secret{alice, bob}, road(t, "@gw"), "@gw", "@bob", "for bob"},
		{"name beats %any", []config.Secret{psk("@gw %any", "w"), bob}, road(t, "@gw"), "@gw", "@bob", "for bob"},
		{"unknown name falls to %any", []config.Secret{psk("@gw %any", "w"), bob}, road(t, "@gw"), "@gw", "@carol", "w"},
		{"names do not mind case", []config.Secret{alice}, fixed(t, "@GW", "@Alice"), "@GW", "@Alice", "for alice"},
		{"kinds differ", []config.Secret{psk("@gw alice@", "x")}, fixed(t, "@gw", "@alice"), "@gw", "@alice", ""},
		{"IPv6", []config.Secret{psk("2001:db8::1 2001:db8::2", "six")}, fixed(t, "2001:db8::1", "2001:db8::2"), "2001:db8::1", "2001:db8::2", "six"},
		{"nothing there", nil, fixed(t, a, b), a, b, ""},
	} {
		got, err := ring(Options{}, test.entries...).PSK(test.conn, id(t, test.local), id(t, test.remote))
		if (err == nil) != (test.want != "") || string(got.Bytes()) != test.want {
			t.Errorf("%s: %q, %v; want %q", test.name, got.Bytes(), err, test.want)
		}
		if err != nil && !strings.Contains(err.Error(), "'"+test.local+"'") {
			t.Errorf("%s: error does not name the identity: %v", test.name, err)
		}
	}
}

// R7.9: classes of secrets never meet.
func TestClassesNeverMeet(t *testing.T) {
	r := ring(Options{}, private(a+" "+b, edKey(t)))
	if s, err := r.PSK(fixed(t, a, b), id(t, a), id(t, b)); err == nil {
		t.Errorf("a private key is a PSK: %v", s)
	}
	r = ring(Options{}, psk("", "x"))
	if _, err := r.Sign(fixed(t, a, b), []byte("x"), suite.SignatureHashes()); !errors.Is(err, ErrNoPrivateKey) {
		t.Errorf("a PSK signs: %v", err)
	}
}

// R9.3: equal scores with different secrets are worth a line, the same secret
// twice is not.
func TestDistinctSecretsAreNoted(t *testing.T) {
	var notes []string
	opts := Options{Note: func(s string) { notes = append(notes, s) }}
	const want = "multiple ipsec.secrets entries with distinct secrets match endpoints '192.0.2.1' and %any: first secret used"

	r := ring(opts, psk(a+" %any", "first"), psk(a+" %any", "second"))
	if s, err := r.PSK(road(t, a), id(t, a), id(t, c)); err != nil || string(s.Bytes()) != "first" {
		t.Errorf("%q, %v", s.Bytes(), err)
	}
	if len(notes) != 1 || notes[0] != want {
		t.Errorf("notes %q", notes)
	}
	notes = nil
	ring(opts, psk(a+" %any", "same"), psk(a+" %any", "same")).PSK(road(t, a), id(t, a), id(t, c))
	ring(opts, psk("", "1"), psk("", "2"), psk(a+" %any", "3")).PSK(road(t, a), id(t, a), id(t, c))
	key := edKey(t)
	ring(opts, private("", key), private("", key)).Sign(fixed(t, a, b), nil, suite.SignatureHashes())
	if len(notes) != 0 {
		t.Errorf("notes %q", notes)
	}
	ring(opts, private("", key), private("", edKey(t))).Sign(fixed(t, a, b), nil, suite.SignatureHashes())
	if len(notes) != 1 {
		t.Errorf("two private keys: notes %q", notes)
	}
}

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Which private key signs, for connections from a to b.
func TestPrivateKeyChoice(t *testing.T) {
	k1, k2, k3 := edKey(t), edKey(t), edKey(t)
	withKey := fixed(t, a, b)
	withKey.Local.Keys = []ike.PublicKey{{Key: k2.Public()}}
	stranger := fixed(t, a, b)
	stranger.Local.Keys = []ike.PublicKey{{Key: edKey(t).Public()}}
	for _, test := range []struct {
		name    string
		conn    *ike.Conn
		entries []config.Secret
		want    ed25519.PrivateKey
	}{
		{"default", fixed(t, a, b), []config.Secret{private("", k1)}, k1},
		{"pair beats default", fixed(t, a, b), []config.Secret{private("", k1), private(a+" "+b, k2)}, k2},
		{"ours alone beats ours among others", fixed(t, a, b), []config.Secret{private(a+" "+c, k1), private(a, k2)}, k2},
		{"ours among others beats default", fixed(t, a, b), []config.Secret{private("", k1), private(a+" "+c, k2)}, k2},
		{"the first of equals", fixed(t, a, b), []config.Secret{private(a, k1), private(a, k2)}, k1},
		{"another's", fixed(t, a, b), []config.Secret{private(c, k1)}, nil},
		{"leftrsasigkey= decides", withKey, []config.Secret{private(a, k1), private("", k2), private(a+" "+b, k3)}, k2},
		{"leftrsasigkey= of a key that is not here", stranger, []config.Secret{private("", k1)}, k1},
		{"template", road(t, a), []config.Secret{private("", k1), private(a+" %any", k2)}, k2},
		{"no key in the entry", fixed(t, a, b), []config.Secret{{Kind: config.SecretPrivate}}, nil},
	} {
		sig, err := ring(Options{}, test.entries...).Sign(test.conn, []byte("octets"), suite.SignatureHashes())
		if test.want == nil {
			if !errors.Is(err, ErrNoPrivateKey) {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		if err != nil || sig.Method != suite.MethodDigital {
			t.Errorf("%s: method %d, %v", test.name, sig.Method, err)
			continue
		}
		if err := suite.VerifySignature(test.want.Public(), sig.Method, []byte("octets"), sig.Data); err != nil {
			t.Errorf("%s: signed by another key", test.name)
		}
	}
}

// The method by key and by what the peer announced; SHA-1 only on demand.
func TestSignMethods(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	all := suite.SignatureHashes()
	for _, test := range []struct {
		name   string
		key    crypto.Signer
		hashes []uint16
		sha1   bool
		want   uint8 // 0: an error
	}{
		{"RSA", rsaKey, all, false, 14},
		{"RSA to an old peer", rsaKey, nil, false, 0},
		{"RSA to an old peer, allowed", rsaKey, nil, true, 1},
		{"RSA to a peer that lists SHA-1 only", rsaKey, []uint16{1}, false, 0}, // CRY-15
		{"RSA, SHA-1 allowed but not needed", rsaKey, all, true, 14},
		{"ECDSA", ecKey, all, false, 14},
		{"ECDSA to an old peer", ecKey, nil, false, 9},
		{"Ed25519", edKey(t), all, false, 14},
		{"Ed25519 to an old peer", edKey(t), nil, true, 0},
	} {
		r := ring(Options{SHA1: test.sha1}, private("", test.key))
		sig, err := r.Sign(fixed(t, a, b), []byte("octets"), test.hashes)
		if (err == nil) != (test.want != 0) || sig.Method != test.want {
			t.Errorf("%s: method %d, %v; want %d", test.name, sig.Method, err, test.want)
			continue
		}
		if err != nil {
			if len(sig.Data) != 0 {
				t.Errorf("%s: an error and a signature", test.name)
			}
			continue
		}
		policy := suite.SignaturePolicy{SHA1: test.sha1}
		if err := policy.Verify(test.key.Public(), sig.Method, []byte("octets"), sig.Data); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// Keys serve the identity they are bound to and no other (MS-12).
// R6.6.
func TestPublic(t *testing.T) {
	key := ike.PublicKey{Key: edKey(t).Public(), Origin: "ipsec.conf"}
	r := ring(Options{})
	conn := fixed(t, a, "@bob")
	conn.Remote.Keys = []ike.PublicKey{key}
	got, err := r.Public(conn, id(t, "@bob"))
	if err != nil || len(got) != 1 || got[0].Origin != "ipsec.conf" {
		t.Errorf("%v, %v", got, err)
	}
	got[0].Origin = "changed"
	if conn.Remote.Keys[0].Origin != "ipsec.conf" {
		t.Error("a caller can change the connection")
	}
	for _, other := range []string{"@mallory", a, "bob@", "%any"} {
		if got, err := r.Public(conn, id(t, other)); err == nil {
			t.Errorf("%s gets %v", other, got)
		}
	}
	if got, err := r.Public(fixed(t, a, "@bob"), id(t, "@bob")); err == nil {
		t.Errorf("no key configured: %v", got)
	}
	any := road(t, a)
	any.Remote.Keys = []ike.PublicKey{key}
	if _, err := r.Public(any, id(t, "@carol")); err != nil {
		t.Errorf("template: %v", err)
	}
}

func TestHostNames(t *testing.T) {
	asked := map[string]int{}
	r := New(Options{Resolve: func(host string) ([]netip.Addr, error) {
		asked[host]++
		if host == "gone.example" {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr(b), netip.MustParseAddr("2001:db8::2")}, nil
	}})
	problems := r.Set(&config.Secrets{Entries: []config.Secret{
		psk(a+" gw.example", "named"), psk("192.0.2.2 gw.example", "again"), psk("192.0.2.3 gone.example", "lost"), psk(a+" gone.example", "lost"),
	}})
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), `"gone.example"`) {
		t.Errorf("problems %v", problems)
	}
	if asked["gw.example"] != 1 || asked["gone.example"] != 1 {
		t.Errorf("asked %v", asked)
	}
	for _, peer := range []string{b, "2001:db8::2"} {
		if s, err := r.PSK(fixed(t, a, peer), id(t, a), id(t, peer)); err != nil || string(s.Bytes()) != "named" {
			t.Errorf("%s: %q, %v", peer, s.Bytes(), err)
		}
	}
	// An index that nobody can match is not the same as no index.
	if s, err := r.PSK(fixed(t, "192.0.2.3", c), id(t, "192.0.2.3"), id(t, c)); err == nil {
		t.Errorf("unresolved name serves everybody: %q", s.Bytes())
	}
	if problems := New(Options{}).Set(&config.Secrets{Entries: []config.Secret{psk(a+" gw.example", "x")}}); len(problems) != 1 {
		t.Errorf("without resolver: %v", problems)
	}
}

// R6.3: 999 pairs load, and every lookup is right.
// R6.2: each pair has its own.
func TestManyPairs(t *testing.T) {
	var entries []config.Secret
	peers := make([]string, 999)
	for i := range peers {
		peers[i] = fmt.Sprintf("10.%d.%d.1", i/250, i%250)
		entries = append(entries, psk(a+" "+peers[i], "secret for "+peers[i]))
	}
	r := ring(Options{Note: func(s string) { t.Error(s) }}, entries...)
	for _, p := range peers {
		if s, err := r.PSK(fixed(t, a, p), id(t, a), id(t, p)); err != nil || string(s.Bytes()) != "secret for "+p {
			t.Fatalf("%s: %q, %v", p, s.Bytes(), err)
		}
	}
	if r.Len() != 999 {
		t.Errorf("%d entries", r.Len())
	}
}

// S6: a lookup sees the old table or the new one, whole.
func TestSetIsAtomic(t *testing.T) {
	tables := [2]*config.Secrets{
		{Entries: []config.Secret{psk(a+" "+b, "old"), psk(a+" "+c, "old")}},
		{Entries: []config.Secret{psk(a+" "+c, "new"), psk(a+" "+b, "new")}},
	}
	r := New(Options{Note: func(s string) { t.Error(s) }})
	r.Set(tables[0])
	conn := fixed(t, a, b)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				r.Set(tables[i%2])
			}
		}
	})
	for range 2000 {
		if s, err := r.PSK(conn, id(t, a), id(t, b)); err != nil || !slices.Contains([]string{"old", "new"}, string(s.Bytes())) {
			t.Errorf("%q, %v", s.Bytes(), err)
		}
	}
	close(stop)
	wg.Wait()
}

// A canary in every secret must not come out of anything that prints.
func TestCanaryNeverPrinted(t *testing.T) {
	const canary = "canary-7f3a91"
	key := ed25519.NewKeyFromSeed([]byte("canary-7f3a91-canary-7f3a91-cana"))
	var texts []string
	opts := Options{Note: func(s string) { texts = append(texts, s) }}
	r := ring(opts, psk(a+" "+b, canary), psk(a+" "+b, canary+"2"), private(a+" "+b, key), private(a+" "+b, edKey(t)))
	conn := fixed(t, a, b)
	s, err := r.PSK(conn, id(t, a), id(t, b))
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := r.PSK(conn, id(t, b), id(t, c))
	_, err2 := r.Sign(fixed(t, a, b), []byte("x"), nil)
	entries := r.entries()
	asJSON, _ := json.Marshal(entries[0].Secret)
	texts = append(texts, string(asJSON), fmt.Sprint(err1, err2))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		texts = append(texts, fmt.Sprintf(verb, s), fmt.Sprintf(verb, entries[0].Secret), fmt.Sprintf(verb, entries[2].Secret),
			fmt.Sprintf(verb, entries[2].Private), fmt.Sprintf(verb, &entries[2]))
	}
	decimal := strings.Trim(fmt.Sprint([]byte(canary)), "[]")
	octets := strings.ReplaceAll(fmt.Sprintf("%#v", []byte(canary)), "[]byte{", "")
	for _, text := range texts {
		for _, leak := range []string{canary, hex.EncodeToString([]byte(canary)), strings.ToUpper(hex.EncodeToString([]byte(canary))), decimal, octets[:20]} {
			if strings.Contains(text, leak) {
				t.Errorf("a secret shows in %.80q", text)
			}
		}
	}
	if len(texts) < 4 || err1 == nil || err2 == nil {
		t.Error("nothing was printed")
	}
}

// The signature of IKEv1 is made with the same key as any other.
func TestSignHash(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	hash := make([]byte, 20)
	sig, err := ring(Options{}, private("", edKey(t)), private(a, rsaKey)).SignHash(fixed(t, a, b), hash)
	if err != nil {
		t.Fatal(err)
	}
	if err := (suite.SignaturePolicy{}).VerifyHash(rsaKey.Public(), hash, sig); err != nil {
		t.Error(err)
	}
	if sig, err := ring(Options{}, private("", edKey(t))).SignHash(fixed(t, a, b), hash); err == nil {
		t.Errorf("signed with Ed25519: %x", sig)
	}
	if _, err := ring(Options{}).SignHash(fixed(t, a, b), hash); !errors.Is(err, ErrNoPrivateKey) {
		t.Errorf("without a key: %v", err)
	}
}
