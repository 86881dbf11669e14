package dns

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"cygnet/internal/octet"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func TestNames(t *testing.T) {
	if Canonical("GW.Example") != "gw.example." || Canonical(".") != "." || Canonical("\xc3\x84.test") != "\xc3\x84.test." {
		t.Error("canonical form")
	}
	for _, c := range []struct {
		zone, name string
		within     bool
	}{{".", "a.", true}, {"test.", "test.", true}, {"test.", "a.test.", true}, {"ple.test.", "example.test.", false}, {"a.test.", "test.", false}} {
		if Within(c.zone, c.name) != c.within {
			t.Errorf("%s within %s: %v", c.name, c.zone, !c.within)
		}
	}
	// RFC 4034, section 6.1, with its own example.
	want := []string{"example.", "a.example.", "yljkjljk.a.example.", "z.a.example.", "zabc.a.example.", "z.example.", "\x01.z.example.", "*.z.example.", "\xc8.z.example."}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, compare)
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if Ancestor("a.b.c.", 0) != "." || Ancestor("a.b.c.", 2) != "b.c." || common("a.b.c.", "x.b.c.") != 2 || common(".", "a.") != 0 {
		t.Error("ancestors")
	}
}

func TestNamesOnTheWire(t *testing.T) {
	for text, want := range map[string]string{"\x03GWa\x04test\x00rest": "gwa.test.", "\x00rest": ".", "\x00": "."} {
		name, rest, err := cutName([]byte(text))
		if err != nil || name != want || strings.HasSuffix(text, "rest") != (string(rest) == "rest") {
			t.Errorf("%q: %q, %q, %v", text, name, rest, err)
		}
		if b := appendName(nil, name); lower(text[:len(b)]) != string(b) {
			t.Errorf("%q: written as %q", text, b)
		}
	}
	long := strings.Repeat("\x3f"+strings.Repeat("a", 63), 4) + "\x00"
	for _, text := range []string{"", "\x03ab", "\xc0\x0c", "\x03a.b\x00", long, "\x01a"} {
		if _, _, err := cutName([]byte(text)); err == nil {
			t.Errorf("%q is a name", text)
		}
	}
}

// RFC 4034, section 5.4: the example's key, its tag and a digest of it.
func TestKeyTagAndDigest(t *testing.T) {
	public, _ := base64.StdEncoding.DecodeString("AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==")
	data := append([]byte{1, 0, 3, 5}, public...)
	if tag := keyTag(data); tag != 60485 {
		t.Errorf("tag %d", tag)
	}
	// RFC 4509, section 2.3.
	want := "d4b7d520e7bb5f0f67674a0cceb1e3e0614b93c4f9e99b8383f6a1e4469da50a"
	if got := hex.EncodeToString(digest(2, "dskey.example.com.", data)); got != want {
		t.Errorf("digest %s", got)
	}
}

// RFC 8080, section 6.1: a key, and the signature over an MX set by it.
func TestEd25519Example(t *testing.T) {
	anchors := Anchors{}
	text := "example.com. 3600 IN DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=\nexample.com. 3600 IN DS 3613 15 2 3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b\n"
	if err := anchors.Read(text); err != nil || len(anchors["example.com."]) != 2 || !bytes.Equal(anchors["example.com."][0].Digest, anchors["example.com."][1].Digest) {
		t.Fatalf("%+v, %v", anchors, err)
	}
	public, _ := base64.StdEncoding.DecodeString("l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=")
	key, ok := parseKey(append([]byte{1, 1, 3, 15}, public...))
	if !ok || key.Tag != 3613 {
		t.Fatalf("%+v", key)
	}
	signature, _ := base64.StdEncoding.DecodeString("oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==")
	rrsig := []byte{0, 15, 15, 2}
	rrsig = octet.AppendUint32(rrsig, 3600)
	rrsig = octet.AppendUint32(rrsig, 1440021600)
	rrsig = octet.AppendUint32(rrsig, 1438207200)
	rrsig = octet.AppendUint16(rrsig, 3613)
	rrsig = append(appendName(rrsig, "example.com."), signature...)
	set := Sets([]RR{
		{"example.com.", 15, 3600, append([]byte{0, 10}, appendName(nil, "mail.example.com.")...)},
		{"example.com.", TypeRRSIG, 3600, rrsig},
	})[0]
	at := time.Unix(1439000000, 0)
	if _, err := set.Verify("example.com.", []Key{key}, at); err != nil {
		t.Errorf("%v", err)
	}
	for name, spoil := range map[string]func(){
		"expired":      func() { at = time.Unix(1440021601, 0) },
		"too early":    func() { at = time.Unix(1438207199, 0) },
		"other data":   func() { set.Data = [][]byte{append([]byte{0, 11}, appendName(nil, "mail.example.com.")...)} },
		"other signer": func() { set.Sigs[0].Signer = "com." },
		"other tag":    func() { set.Sigs[0].Tag++ },
	} {
		kept, keptAt := set, at
		set.Sigs = slices.Clone(set.Sigs)
		spoil()
		if _, err := set.Verify("example.com.", []Key{key}, at); !errors.Is(err, ErrBogus) {
			t.Errorf("%s: %v", name, err)
		}
		set, at = kept, keptAt
	}
}

// signed is a zone with its key in memory.
type signed struct {
	Zone
	private ed25519.PrivateKey
}

func newSigned(name string) signed {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	data := append([]byte{1, 1, 3, 15}, private.Public().(ed25519.PublicKey)...)
	k, _ := parseKey(data)
	return signed{Zone{name, []Key{k}}, private}
}

// sign returns records with their signature; labels is how many are signed.
func (z signed) sign(owner string, rrtype uint16, labels int, data ...[]byte) []RR {
	var rrs []RR
	for _, d := range data {
		rrs = append(rrs, RR{owner, rrtype, 60, d})
	}
	head := octet.AppendUint16(nil, rrtype)
	head = append(head, 15, byte(labels))
	head = octet.AppendUint32(head, 60)
	head = octet.AppendUint32(head, uint32(now.Add(time.Hour).Unix()))
	head = octet.AppendUint32(head, uint32(now.Add(-time.Hour).Unix()))
	head = octet.AppendUint16(head, z.Keys[0].Tag)
	head = appendName(head, z.Name)
	sig := Sig{OrigTTL: 60, head: head}
	name := owner
	if l := Labels(owner); labels < len(l) {
		name = Join(append([]string{"*"}, l[len(l)-labels:]...))
	}
	body := ed25519.Sign(z.private, Set{Name: owner, Type: rrtype, Data: data}.signed(sig, name))
	return append(rrs, RR{owner, TypeRRSIG, 60, append(head, body...)})
}

func bits(types ...uint16) []byte {
	b := make([]byte, 32)
	for _, t := range types {
		b[t/8] |= 0x80 >> (t % 8)
	}
	return append([]byte{0, 32}, b...)
}

func (z signed) nsec(owner, next string, types ...uint16) []RR {
	l := Labels(owner)
	n := len(l)
	if l[0] == "*" {
		n--
	}
	return z.sign(owner, TypeNSEC, n, append(appendName(nil, next), bits(types...)...))
}

// A library verifies a signature whose signer is a suffix of letters; here names
// are compared by labels (CVE class of GHSA-87mm-qxm5-cp3f).
func TestSignerIsComparedByLabels(t *testing.T) {
	z := newSigned("ple.test.")
	set := Sets(z.sign("example.test.", 1, 2, []byte{1, 2, 3, 4}))[0]
	if _, err := set.Verify("ple.test.", z.Keys, now); err == nil {
		t.Error("ple.test. signs for example.test.")
	}
}

// A forger's name cannot write a line of its own into a log.
func TestForgedNamesStayInTheirLine(t *testing.T) {
	z := newSigned("test.")
	set := Sets([]RR{{"a\n<0> all is well\x1b[2J.test.", 1, 60, []byte{1, 2, 3, 4}}})[0]
	if _, err := set.Verify("test.", z.Keys, now); err == nil || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("%q", err)
	}
}

func TestWorkIsBounded(t *testing.T) {
	z := newSigned("test.")
	rrs := z.sign("a.test.", 1, 2, []byte{1, 2, 3, 4})
	set := Sets(rrs)[0]
	broken := set.Sigs[0]
	broken.signature = make([]byte, 64)
	set.Sigs = append(slices.Repeat([]Sig{broken}, 8), set.Sigs...)
	if _, err := set.Verify("test.", z.Keys, now); !errors.Is(err, ErrBogus) || !strings.Contains(err.Error(), "more than 8") {
		t.Errorf("nine signatures: %v", err)
	}
	keys := slices.Concat(slices.Repeat([]Key{{Alg: 15, Tag: z.Keys[0].Tag, public: make([]byte, 32)}}, 4), z.Keys)
	if _, err := Sets(rrs)[0].Verify("test.", keys, now); err == nil {
		t.Error("a fifth key of one tag is tried")
	}
}

func TestDenialByNSEC(t *testing.T) {
	z := newSigned("test.")
	cat := func(parts ...[]RR) []Set { return Sets(slices.Concat(parts...)) }
	apex := z.nsec("test.", "a.test.", TypeSOA, TypeNS)
	for name, c := range map[string]struct {
		proofs []Set
		name   string
		rrtype uint16
		want   Denial
		bogus  bool
	}{
		"no data":                     {cat(z.nsec("a.test.", "c.test.", 1)), "a.test.", 45, NoData, false},
		"it exists":                   {cat(z.nsec("a.test.", "c.test.", 45)), "a.test.", 45, 0, true},
		"a CNAME exists":              {cat(z.nsec("a.test.", "c.test.", TypeCNAME)), "a.test.", 45, 0, true},
		"no name":                     {cat(z.nsec("a.test.", "c.test.", 1), apex), "b.test.", 45, NoName, false},
		"no name, wildcard unproven":  {cat(z.nsec("a.test.", "c.test.", 1)), "b.test.", 45, 0, true},
		"a wildcard has it":           {cat(z.nsec("a.test.", "c.test.", 1), z.nsec("*.test.", "a.test.", 45)), "b.test.", 45, 0, true},
		"a wildcard has not":          {cat(z.nsec("a.test.", "c.test.", 1), z.nsec("*.test.", "a.test.", 1)), "b.test.", 45, NoData, false},
		"only something below a star": {cat(z.nsec("a.test.", "c.test.", 1), z.nsec("test.", "x.*.test.", TypeSOA, TypeNS)), "b.test.", 45, NoData, false},
		"only something below":        {cat(z.nsec("a.test.", "x.b.test.", 1)), "b.test.", 45, NoData, false},
		"last in the zone":            {cat(z.nsec("m.test.", "test.", 1), apex), "z.test.", 45, NoName, false},
		"not covered":                 {cat(z.nsec("a.test.", "c.test.", 1), apex), "d.test.", 45, 0, true},
		"below a delegation":          {cat(z.nsec("a.test.", "c.test.", TypeNS), apex), "x.a.test.", 45, 0, true},
		"below a DNAME":               {cat(z.nsec("a.test.", "c.test.", TypeDNAME), apex), "x.a.test.", 45, 0, true},
		"delegation without DS":       {cat(z.nsec("a.test.", "c.test.", TypeNS)), "a.test.", TypeDS, Unsigned, false},
		"the child denies its DS":     {cat(z.nsec("a.test.", "c.test.", TypeNS, TypeSOA)), "a.test.", TypeDS, 0, true},
		"the parent denies another":   {cat(z.nsec("a.test.", "c.test.", TypeNS)), "a.test.", 45, 0, true},
		"nothing at all":              {nil, "b.test.", 45, 0, true},
		"made from a wildcard":        {cat(z.sign("a.test.", TypeNSEC, 1, append(appendName(nil, "c.test."), bits(1)...)), apex), "b.test.", 45, 0, true},
		"unsigned proof":              {[]Set{{Name: "a.test.", Type: TypeNSEC, Data: [][]byte{append(appendName(nil, "c.test."), bits(1)...)}}}, "a.test.", 45, 0, true},
		"another zone's proof beside": {cat(apex, z.nsec("a.test.", "c.test.", 1))[1:], "a.test.", 45, NoData, false},
	} {
		kind, life, err := z.Deny(c.proofs, c.name, c.rrtype, now)
		if errors.Is(err, ErrBogus) != c.bogus || err == nil && (kind != c.want || !life.End.Equal(now.Add(time.Hour))) {
			t.Errorf("%s: %d, %+v, %v", name, kind, life, err)
		}
	}
	covered := cat(z.nsec("a.test.", "c.test.", 1))
	if kind, _, err := z.Expanded(covered, "b.test.", 1, now); err != nil || kind != NoName {
		t.Errorf("wildcard with proof: %d, %v", kind, err)
	}
	if _, _, err := z.Expanded(covered, "x.c.test.", 1, now); err == nil {
		t.Error("wildcard although c.test. exists")
	}
}

// nsec3 makes the record that covers the hashes between two names' neighbours:
// its ends are given as offsets from the hashes of names.
func (z signed) nsec3(from, to string, before, after int8, iterations uint16, flags byte, types ...uint16) []RR {
	h := hashed{known: map[string][]byte{}, rounds: iterations}
	shift := func(name string, by int8) []byte {
		n := new(big.Int).SetBytes(h.of(name))
		return n.Add(n, big.NewInt(int64(by))).FillBytes(make([]byte, 20))
	}
	data := octet.AppendUint16([]byte{1, flags}, iterations)
	data = append(append(data, 0, 20), shift(to, after)...)
	owner := strings.ToLower(base32hex.EncodeToString(shift(from, before))) + "." + z.Name
	return z.sign(owner, TypeNSEC3, len(Labels(owner)), append(data, bits(types...)...))
}

func TestDenialByNSEC3(t *testing.T) {
	z := newSigned("test.")
	match := func(name string, types ...uint16) []RR { return z.nsec3(name, name, 0, 1, 0, 0, types...) }
	cover := func(name string, flags byte) []RR { return z.nsec3(name, name, -1, 1, 0, flags) }
	cat := func(parts ...[]RR) []Set { return Sets(slices.Concat(parts...)) }
	apex := match("test.", TypeSOA, TypeNS)
	for name, c := range map[string]struct {
		proofs []Set
		name   string
		rrtype uint16
		want   Denial
		bogus  bool
	}{
		"no data":               {cat(match("a.test.", 1)), "a.test.", 45, NoData, false},
		"it exists":             {cat(match("a.test.", 45)), "a.test.", 45, 0, true},
		"no name":               {cat(apex, cover("b.test.", 0), cover("*.test.", 0)), "b.test.", 45, NoName, false},
		"no name below":         {cat(apex, cover("b.test.", 0), cover("*.test.", 0)), "x.y.b.test.", 45, NoName, false},
		"wildcard unproven":     {cat(apex, cover("b.test.", 0)), "b.test.", 45, 0, true},
		"a wildcard has it not": {cat(apex, cover("b.test.", 0), match("*.test.", 1)), "b.test.", 45, NoData, false},
		"a wildcard has it":     {cat(apex, cover("b.test.", 0), match("*.test.", 45)), "b.test.", 45, 0, true},
		"encloser unproven":     {cat(cover("b.test.", 0), cover("*.test.", 0)), "b.test.", 45, 0, true},
		"opt-out":               {cat(apex, cover("b.test.", 1), cover("*.test.", 0)), "b.test.", 45, Unsigned, false},
		"opt-out, a wildcard":   {cat(apex, cover("b.test.", 1), match("*.test.", 1)), "b.test.", 45, Unsigned, false},
		"opt-out of a DS":       {cat(apex, cover("b.test.", 1)), "b.test.", TypeDS, Unsigned, false},
		"below a delegation":    {cat(match("a.test.", TypeNS), cover("x.a.test.", 0), cover("*.a.test.", 0)), "x.a.test.", 45, 0, true},
		"too many iterations":   {cat(z.nsec3("b.test.", "b.test.", -1, 1, 151, 0)), "b.test.", 45, Unsigned, false},
	} {
		kind, _, err := z.Deny(c.proofs, c.name, c.rrtype, now)
		if errors.Is(err, ErrBogus) != c.bogus || err == nil && kind != c.want {
			t.Errorf("%s: %d, %v", name, kind, err)
		}
	}
	for name, c := range map[string]struct {
		proofs []Set
		want   Denial
		bogus  bool
	}{
		"proof":               {cat(cover("b.test.", 0)), NoName, false},
		"no proof":            {nil, 0, true},
		"opt-out":             {cat(cover("b.test.", 1)), Unsigned, false},
		"too many iterations": {cat(z.nsec3("b.test.", "b.test.", -1, 1, 151, 0)), Unsigned, false},
	} {
		kind, _, err := z.Expanded(c.proofs, "b.test.", 1, now)
		if errors.Is(err, ErrBogus) != c.bogus || err == nil && kind != c.want {
			t.Errorf("wildcard, %s: %d, %v", name, kind, err)
		}
	}
}

func TestBadAnchors(t *testing.T) {
	for _, line := range []string{"x", ". IN DS 1 13 2", ". DS a 13 2 00", ". DS 1 13 2 0g", ". DS 1 13 2 00", ". DNSKEY 257 3 13 !", ". DNSKEY 257 3 5 AAAA", ". IN A 1.2.3.4 a b", ". DS 1 8 1 " + strings.Repeat("00", 20)} {
		if err := (Anchors{}).Read("; a comment\n\n" + line); err == nil || !strings.Contains(err.Error(), "line 3: ") {
			t.Errorf("%s: %v", line, err)
		}
	}
	a := Anchors{"test.": {{}}, "a.test.": {{}}}
	for name, want := range map[string]string{"x.a.test.": "a.test.", "b.test.": "test.", "com.": ""} {
		if zone, ok := a.Closest(name); zone != want && ok || ok != (want != "") {
			t.Errorf("%s: %q, %v", name, zone, ok)
		}
	}
}

// answerTo builds an answer as a server would, for seeds of the fuzzer.
func answerTo(t testing.TB, q Question, header dnsmessage.Header) []byte {
	t.Helper()
	header.ID, header.Response = q.ID, true
	name := dnsmessage.MustNewName(q.Name)
	m := dnsmessage.Message{
		Header:    header,
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.Type(q.Type), Class: dnsmessage.ClassINET}},
		Answers: []dnsmessage.Resource{
			{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 60}, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("B.test.")}},
			{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("b.test."), Class: dnsmessage.ClassINET, TTL: 60}, Body: &dnsmessage.UnknownResource{Type: 45, Data: []byte{10, 0, 4}}},
			{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassCHAOS, TTL: 60}, Body: &dnsmessage.TXTResource{TXT: []string{"x"}}},
		},
		Authorities: []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("test."), Class: dnsmessage.ClassINET, TTL: 60},
			Body: &dnsmessage.SOAResource{NS: dnsmessage.MustNewName("NS.test."), MBox: dnsmessage.MustNewName("h.test."), MinTTL: 30}}},
		Additionals: []dnsmessage.Resource{
			{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}, Body: &dnsmessage.AResource{A: [4]byte{1, 2, 3, 4}}},
			{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("."), Class: 1232}, Body: &dnsmessage.OPTResource{Options: []dnsmessage.Option{{Code: 15, Data: []byte{0, 7, 'x'}}, {Code: 15, Data: []byte{0}}}}},
		},
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessages(t *testing.T) {
	q := Question{ID: 7, Name: "a.test.", Type: 45}
	m, err := q.Parse(answerTo(t, q, dnsmessage.Header{AuthenticData: true}))
	if err != nil || !m.AD || m.RCode != 0 || len(m.Answer) != 2 || len(m.Authority) != 1 || len(m.Errors) != 1 || m.Errors[0].Code != 7 || m.Errors[0].Text != "x" {
		t.Fatalf("%+v, %v", m, err)
	}
	sets := Sets(m.Answer)
	if to, ok := sets[0].Target(); !ok || to != "b.test." {
		t.Errorf("%q", to)
	}
	if SOAMinimum(Sets(m.Authority)) != 30 || SOAMinimum(nil) != 0 {
		t.Error("minimum of the SOA")
	}
	if m, err := q.Parse(answerTo(t, q, dnsmessage.Header{Truncated: true})); err != nil || !m.Truncated || len(m.Answer) > 0 {
		t.Errorf("truncated: %+v, %v", m, err)
	}
	for name, other := range map[string]Question{"ID": {ID: 8, Name: "a.test.", Type: 45}, "name": {ID: 7, Name: "b.test.", Type: 45}, "type": {ID: 7, Name: "a.test.", Type: 16}} {
		if _, err := q.Parse(answerTo(t, other, dnsmessage.Header{})); !errors.Is(err, ErrNotAnAnswer) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if _, err := (Question{Name: strings.Repeat("a", 300)}).Pack(); err == nil {
		t.Error("a name of 300 octets is asked for")
	}
	dname := Set{Name: "x.test.", Type: TypeDNAME, Data: [][]byte{appendName(nil, "y.test.")}}
	if to, ok := dname.Redirect("a.b.x.test."); !ok || to != "a.b.y.test." {
		t.Errorf("DNAME: %q, %v", to, ok)
	}
	if _, ok := dname.Redirect("x.test."); ok {
		t.Error("a DNAME redirects its own name")
	}
}

// D25: no message of the DNS does harm.
func FuzzMessage(f *testing.F) {
	q := Question{ID: 7, Name: "a.test.", Type: 45}
	f.Add(answerTo(f, q, dnsmessage.Header{}))
	f.Add([]byte{0, 7, 0x80, 0})
	z := newSigned("test.")
	f.Fuzz(func(t *testing.T, msg []byte) {
		m, err := q.Parse(msg)
		if err != nil {
			return
		}
		sets := Sets(slices.Concat(m.Answer, m.Authority))
		for _, s := range sets {
			if _, err := s.Verify("test.", z.Keys, now); err == nil {
				t.Fatalf("%+v is verified", s)
			}
			s.Target()
			s.Redirect("a.test.")
			s.SignedUntil(now)
			DSOf(s)
			if _, _, err := s.ZoneKeys([]DS{{}}, now); err == nil {
				t.Fatal("keys of nobody")
			}
		}
		if _, _, err := z.Deny(sets, "a.test.", 45, now); err == nil {
			t.Fatal("denied without a proof")
		}
		SOAMinimum(sets)
	})
}

func FuzzProofs(f *testing.F) {
	f.Add("b.test.", append(appendName(nil, "c.test."), bits(1, 45)...))
	f.Add("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.test.", append([]byte{1, 0, 0, 1, 0, 20}, append(make([]byte, 20), bits(1)...)...))
	z := newSigned("test.")
	f.Fuzz(func(t *testing.T, owner string, data []byte) {
		name, _, err := cutName(append([]byte(owner), 0))
		if err != nil {
			name = "b.test."
		}
		for _, rrtype := range []uint16{TypeNSEC, TypeNSEC3} {
			p := proofs{}
			p.add(Set{Name: name, Type: rrtype}, data)
			_, _ = p.denyNSEC(z.Name, "b.test.", 45)
			if len(p.nsec3.recs) > 0 {
				_, _ = p.nsec3.deny(z.Name, "x.b.test.", 45)
			}
		}
	})
}
