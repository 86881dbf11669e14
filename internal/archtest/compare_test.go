package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// guarded are the packages in which a peer's octets meet octets that it should not
// be able to guess.
var guarded = []string{
	"internal/eap", "internal/esp", "internal/ike", "internal/ikev1", "internal/ikev1/wire", "internal/ikev2", "internal/ikev2/wire",
	"internal/ipsec", "internal/keys", "internal/klips", "internal/rawkey", "internal/suite",
}

// plainly is every comparison of octets in those packages that ends at the first
// difference, and why its time tells nothing: both sides are known to whoever could
// measure it, or to nobody but us.
var plainly = []struct {
	why   string
	where []string
}{
	{"numbers of algorithms, payloads and lengths, and the name of a hash", []string{
		"internal/esp/aead.go: c.Overhead() != encr.ICV",
		"internal/esp/aead.go: encr.ID == encrGMAC",
		"internal/esp/transform.go: id == encrGMAC",
		"internal/ikev1/wire/legal.go: first(ps) != ike.PayloadV1Hash",
		"internal/suite/sig.go: s.hash == first",
	}},
	{"names, SPIs, proposals and addresses, which are no secrets", []string{
		"internal/ike/dn.go: string(p.Bytes) == string(q.Bytes)",
		"internal/ikev1/exchange_info.go: bytes.Equal(n.SPI, spiOctets(p.proto, p.in))",
		"internal/ikev1/phase2_select.go: reflect.DeepEqual(a, b)",
		"internal/ikev2/mobike.go: bytes.Equal(n.Data, pathOctets(in.remote, in.local))",
		"internal/klips/hold.go: bytes.Compare(a.sortKey(), b.sortKey())",
		"internal/klips/spd.go: slices.Equal(a.Bundle, b.Bundle)",
	}},
	{"IKEv1's cookies, which stand in the header of every message", []string{
		"internal/ikev1/exchange_info.go: bytes.Equal(cookies, cookiesOf(s.spiI, s.spiR))",
		"internal/ikev1/exchange_info.go: bytes.Equal(cookies, cookiesOf(o.spiI, o.spiR))",
		"internal/ikev1/exchange_info.go: bytes.Equal(n.SPI, cookiesOf(s.spiI, s.spiR))",
	}},
	{"digests of whole messages as they came, to know one that comes again", []string{
		"internal/ikev1/exchange_quick.go: in.digest == q.seen",
		"internal/ikev1/gate.go: gr.digest == in.digest",
		"internal/ikev1/receive.go: in.digest == s.main.seen",
	}},
	{"NAT detection, a hash of what everybody sees", []string{
		"internal/ikev1/nat.go: bytes.Equal(ds[0].Hash, natHash(prf, s.spiI, s.spiR, s.local))",
		"internal/ikev1/nat.go: bytes.Equal(d.Hash, seen)",
		"internal/ikev2/mobike.go: bytes.Equal(s.seenAs, n.Data)",
		"internal/ikev2/nat.go: bytes.Equal(n.Data, want)",
	}},
	{"nonces of both sides, to see which is lower (RFC 7296, 2.8.1)", []string{
		"internal/ikev2/collide.go: bytes.Compare(lowest(ni, nr), r.low)",
		"internal/ikev2/exchange_child.go: bytes.Compare(ni, nr)",
	}},
	{"the cookie that a responder has sent against the one that it sent before", []string{
		"internal/ikev2/exchange_init.go: bytes.Equal(cookie, hs.cookie)",
	}},
	{"headers of TCP that are to be joined, already decrypted", []string{
		"internal/klips/coalesce.go: string(t[8:12]) == string(u[8:12])",
		"internal/klips/coalesce.go: string(t[14:16]) == string(u[14:16])",
		"internal/klips/coalesce.go: string(t[18:]) == string(u[18:])",
	}},
	{"key files of this machine, read with nobody watching", []string{
		`internal/rawkey/encrypted.go: bytes.Contains(data, []byte("-----BEGIN "))`,
		"internal/rawkey/encrypted.go: bytes.Equal(plain[len(plain)-n:], bytes.Repeat([]byte{byte(n)}, n))",
		`internal/rawkey/private.go: bytes.Contains(data, []byte("-----BEGIN "))`,
	}},
	{"known answers at start, the same in every copy of this program", []string{
		"internal/suite/selftest.go: bytes.Equal(c.Seal(nil, nonce, plain, ad), want)",
		"internal/suite/selftest.go: bytes.Equal(got, plain)",
		"internal/suite/selftest.go: bytes.Equal(got, sealed)",
		"internal/suite/selftest.go: bytes.Equal(got, unhex(a.mac)[:len(got)])",
		"internal/suite/selftest.go: bytes.Equal(ours, theirs)",
		"internal/suite/selftest.go: bytes.Equal(sum[:], unhex(a.shared))",
	}},
	{"AlgorithmIdentifiers, which name an algorithm", []string{
		"internal/suite/sig.go: bytes.Equal(id, s.id)",
		"internal/suite/sig.go: bytes.Equal(id, a)",
	}},
}

// timed are those that take the same time wherever the difference is; the test
// wants them where the protocols check something secret.
var timed = []string{
	"internal/esp/ah.go", "internal/esp/cbc.go", "internal/suite/encr_aes_gcm.go", // ICV of AH, of ESP, of AES-GCM with a short one
	"internal/ikev2/wire/cipher.go",                            // ICV of an encrypted payload
	"internal/ike/job.go", "internal/ikev2/exchange_resume.go", // AUTH
	"internal/ikev1/main_initiator.go", "internal/ikev1/main_responder.go", "internal/ikev1/receive.go", // HASH_I, HASH_R, HASH(1) to (3)
	"internal/ikev2/cookie.go", "internal/ikev2/mobike.go", // COOKIE, COOKIE2
	"internal/ikev2/crash.go",                                         // token of QUICK_CRASH_DETECTION
	"internal/ikev2/exchange_follow.go", "internal/ikev2/redirect.go", // link of IKE_FOLLOWUP_KE, nonce of REDIRECTED_FROM
	"internal/eap/mschapv2_ends.go", "internal/ipsec/secret.go", // answers of MSCHAPv2; secrets among themselves
}

// CRY-24: whatever authenticates a peer or a packet is compared in constant time.
// The list above is exact: a comparison that is added anywhere in these packages
// fails until somebody has thought about it.
func TestAdv_CRY_24_ConstantTime(t *testing.T) {
	var found []string
	constant := map[string]bool{}
	for _, dir := range guarded {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no Go files, %v", dir, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			name := dir + "/" + filepath.Base(file)
			early, same := comparisons(t, file)
			for _, e := range early {
				found = append(found, name+": "+e)
			}
			constant[name] = constant[name] || same
		}
	}
	allowed := map[string]bool{}
	for _, group := range plainly {
		for _, f := range group.where {
			allowed[f] = true
			if !slices.Contains(found, f) {
				t.Errorf("%s is not in the code any more", f)
			}
		}
	}
	for _, f := range found {
		if !allowed[f] {
			t.Errorf("%s: is one side a secret or a proof? Then compare with crypto/subtle or hmac.Equal; if not, this test must know why", f)
		}
	}
	for _, f := range timed {
		if !constant[f] {
			t.Errorf("%s compares nothing in constant time", f)
		}
	}
}

// earlyExit are functions that compare slices octet by octet until they differ.
var earlyExit = []string{"bytes.Equal", "bytes.Compare", "bytes.HasPrefix", "bytes.HasSuffix", "bytes.Contains", "bytes.EqualFold",
	"slices.Equal", "slices.Compare", "reflect.DeepEqual", "strings.Compare"}

// proofWord is how this code calls what is secret or proves something.
var proofWord = regexp.MustCompile(`(?i)(icv|mac|hash|cookie2?|token|digest|sum|tag|secret)(\.data|\.bytes\(\))?$`)

// comparisons lists those of a file that end early, as they are written, and says
// whether there are others.
func comparisons(t *testing.T, file string) (early []string, constant bool) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	text := func(n ast.Node) string {
		var b bytes.Buffer
		if err := printer.Fprint(&b, fset, n); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			switch call := text(n.Fun); {
			case slices.Contains(earlyExit, call):
				early = append(early, text(n))
			case call == "subtle.ConstantTimeCompare" || call == "hmac.Equal":
				constant = true
			}
			for _, arg := range n.Args { // handed on as a function
				if slices.Contains(earlyExit, text(arg)) {
					early = append(early, text(n))
				}
			}
		case *ast.BinaryExpr:
			if (n.Op == token.EQL || n.Op == token.NEQ) && byOctets(text(n.X), text(n.Y)) {
				early = append(early, text(n))
			}
		}
		return true
	})
	return early, constant
}

// byOctets reports whether x == y may compare strings or arrays of octets that
// prove something. Types are not looked at: a conversion to string, or a name that
// says so on one side and no constant on the other.
func byOctets(x, y string) bool {
	if strings.HasPrefix(x, "string(") && strings.HasPrefix(y, "string(") {
		return true
	}
	for _, s := range []string{x, y} {
		if s == "nil" || s == `""` || s == "true" || s == "false" || strings.Trim(s, "0123456789") == "" {
			return false
		}
	}
	return proofWord.MatchString(x) || proofWord.MatchString(y)
}
