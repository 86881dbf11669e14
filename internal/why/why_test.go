package why

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// describe orients a connection at its right end, with lines added.
func describe(t *testing.T, lines ...string) *connection.Description {
	t.Helper()
	f := config.ParseText("ipsec.conf", "version 2\nconn c\n\tauthby=secret\n\tleft=192.0.2.1\n\tleftid=@west\n\tleftsubnet=10.1.0.0/24\n\tright=198.51.100.1\n\trightid=@east\n\trightsubnet=10.2.0.0/24\n\t"+strings.Join(lines, "\n\t")+"\n")
	if f.Conn("c") == nil {
		t.Fatal(f.Errors)
	}
	d, err := connection.Orient(f.Conn("c"), &connection.Facts{Ours: []connection.Address{{Addr: netip.MustParseAddr("198.51.100.1"), Virtual: "ipsec0", Physical: "eth0"}}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mismatch(t *testing.T, ours, theirs string) *suite.Mismatch {
	t.Helper()
	a, err := suite.ParseIKE(ours)
	b, err2 := suite.ParseIKE(theirs)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	_, _, err = suite.Select(a, []suite.Offer{b[0].Offer(1, nil)})
	m, ok := err.(*suite.Mismatch)
	if !ok {
		t.Fatalf("they meet: %v", err)
	}
	return m
}

// The text that people read, whole: what is ours and theirs, the differences,
// and mends for either side with the sides named as our file names them.
func TestLines(t *testing.T) {
	at := time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	m := mismatch(t, "aes256-sha2_512-modp4096", "3des-md5-modp1024")
	id := func(s string) ike.ID { x, _ := ike.ParseID(s); return x }
	for _, x := range []struct {
		failure *ike.Failure
		ours    bool
		want    string
	}{
		{&ike.Failure{Reason: ike.ReasonProposal, Why: "no acceptable IKE proposal", Ours: m.OursText(), Theirs: m.TheirsText(), Detail: ike.Detail{Algorithms: m}}, false, `
"c": not up; at 2026-11-25 03:00:00 UTC the peer called, and it failed: proposal
  no acceptable IKE proposal
  ours:   AES_CBC_256/HMAC_SHA2_512_256/PRF_HMAC_SHA2_512/MODP_4096
  theirs: 3DES_CBC/HMAC_MD5_96/PRF_HMAC_MD5/MODP_1024
  differs in encryption: ours AES_CBC_256, theirs 3DES_CBC
  differs in integrity: ours HMAC_SHA2_512_256, theirs HMAC_MD5_96
  differs in PRF: ours PRF_HMAC_SHA2_512, theirs PRF_HMAC_MD5
  differs in key exchange: ours MODP_4096, theirs MODP_1024
  mend here:  ipsec.conf:9: ike=3des-md5-modp1024 (takes what the peer offers, but is obsolete: better mend the other side)
  mend there: ike=aes256-sha2_512-modp4096 (offers what we take)
`},
		{&ike.Failure{Reason: ike.ReasonAuth, Why: "no suitable connection for peer '@stranger'", Theirs: "@stranger", Detail: ike.Detail{Declared: id("@stranger"), Expected: []ike.ID{id("@west")}}}, false, `
"c": not up; at 2026-11-25 03:00:00 UTC the peer called, and it failed: authentication
  no suitable connection for peer '@stranger'
  theirs: @stranger
  differs in the peer's identity: ours @west, theirs @stranger
  mend here:  ipsec.conf:9: leftid=@stranger (if that is whom you mean)
  mend there: its own id=@west (as we expect it)
`},
		{&ike.Failure{Reason: ike.ReasonTS, Why: "the peer refuses the IPsec SA: TS_UNACCEPTABLE", ByPeer: true}, true, `
"c": not up; at 2026-11-25 03:00:00 UTC we called, and it failed: selectors
  the peer refuses the IPsec SA: TS_UNACCEPTABLE
  ours:   10.2.0.0/24 === 10.1.0.0/24
  mend there: the peer does not tell which nets it has; its own ` + "`ipsec why'" + `, or its log, does
  mend there: leftsubnet= and rightsubnet= are the same nets in both files; an end without one is its own address
`},
	} {
		c := Explain(connection.Blamed{Description: describe(t), List: []connection.Blame{{Why: x.failure, At: at, Ours: x.ours}}},
			func(string) (string, int) { return "ipsec.conf", 9 })
		doc := &Document{Schema: Schema, Connections: []*Connection{c}}
		if got := "\n" + strings.Join(doc.Lines(), "\n") + "\n"; got != x.want {
			t.Errorf("got%swant%s", got, x.want)
		}
		var again Document
		b, err := json.Marshal(doc)
		if err != nil || json.Unmarshal(b, &again) != nil || again.Connections[0].Failures[0].Text != x.failure.Why {
			t.Errorf("as JSON: %s, %v", b, err)
		}
	}
}

// Whatever of a Detail is missing, nothing panics and every reason has a line.
func TestEveryReason(t *testing.T) {
	for reason := range ike.ReasonDeleted + 1 {
		for _, byPeer := range []bool{false, true} {
			for _, ours := range []bool{false, true} {
				b := connection.Blame{Why: &ike.Failure{Reason: reason, Why: "what happened", ByPeer: byPeer, Detail: ike.Detail{Algorithms: &suite.Mismatch{}}}, Ours: ours}
				for range 2 {
					c := Explain(connection.Blamed{Description: describe(t), List: []connection.Blame{b}}, nil)
					if text := strings.Join(c.lines(), "\n"); !strings.Contains(text, "what happened") || !strings.Contains(text, reason.String()) {
						t.Errorf("%s: %s", reason, text)
					}
					b.Why.Detail = ike.Detail{}
				}
			}
		}
	}
}

// narrowing=yes helps where the nets of both ends have something in common only.
func TestNarrowingMends(t *testing.T) {
	ts := func(text string) []ipsec.TS {
		p := netip.MustParsePrefix(text)
		return []ipsec.TS{{Start: p.Addr(), End: lastOf(p)}}
	}
	for _, x := range []struct {
		local, remote string
		want          bool
	}{
		{"10.1.0.0/25", "10.2.0.0/24", true},
		{"10.0.0.0/8", "10.2.0.0/16", true},
		{"10.9.0.0/24", "10.2.0.0/24", false},
		{"10.1.0.0/24", "10.9.0.0/24", false},
		{"2001:db8::/32", "10.2.0.0/24", false},
	} {
		f := &ike.Failure{Reason: ike.ReasonTS, Why: "no connection is known"}
		f.Detail.Ours = ike.TSPair{Local: ts("10.1.0.0/24"), Remote: ts("10.2.0.0/24")}
		f.Detail.Theirs = ike.TSPair{Local: ts(x.local), Remote: ts(x.remote)}
		d := &connection.Description{Conn: &ike.Conn{Name: "net"}}
		e := explain(d, connection.Blame{Why: f})
		if got := slices.ContainsFunc(e.Mends, func(m Mend) bool { return m.Key == "narrowing" }); got != x.want {
			t.Errorf("%s === %s: %v", x.local, x.remote, got)
		}
	}
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Where only PFS is missing, that is the edit.
func TestPFSMends(t *testing.T) {
	ours, err := suite.ParseESP("aes128-sha2_256-modp2048")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = suite.Select(ours, []suite.Offer{suite.WithoutKE(ours)[0].Offer(1, nil)})
	m, ok := errors.AsType[*suite.Mismatch](err)
	if !ok {
		t.Fatal(err)
	}
	f := &ike.Failure{Reason: ike.ReasonProposal, Why: "no acceptable proposal", Detail: ike.Detail{Algorithms: m}}
	e := explain(&connection.Description{Conn: &ike.Conn{Name: "net"}}, connection.Blame{Why: f})
	if len(e.Mends) != 2 || e.Mends[0].Key != "pfs" || e.Mends[0].Value != "no" || e.Mends[1].Value != "yes" || e.Mends[1].Here {
		t.Errorf("%+v", e.Mends)
	}
}
