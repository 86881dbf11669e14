package resolve

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cygnet/internal/dns"
	"cygnet/internal/dnslab"
	"cygnet/internal/dnslab/labzones"
	"cygnet/internal/oe"
	"cygnet/internal/rawkey"
)

// clock is a wall clock that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// way is one of the two ways to proven answers, on a laboratory of its own.
type way struct {
	name string
	lab  *dnslab.Server
	r    *Resolver
	clk  *clock
}

// ways runs a case by a validating resolver's word and by our own proof.
func ways(t *testing.T, run func(t *testing.T, w way)) { waysWith(t, Options{}, run) }

// waysWith is ways with options beyond the usual ones.
func waysWith(t *testing.T, more Options, run func(t *testing.T, w way)) {
	for _, name := range []string{"ad", "validate"} {
		t.Run(name, func(t *testing.T) {
			w := way{name: name, clk: newClock()}
			var at netip.AddrPort
			w.lab, at = serve(t, dnslab.Options{Validates: name == "ad", Now: w.clk.now})
			o := more
			o.Servers, o.Now = []netip.AddrPort{at}, w.clk.now
			if name == "validate" {
				o.Method, o.Anchors = BySelf, anchors(t, w.lab)
			}
			w.r = open(t, o)
			run(t, w)
		})
	}
}

// find asks who may speak for an address, with a deadline that only broken
// servers reach.
func (w way) find(t *testing.T, addr string, o oe.Options) oe.Finding {
	t.Helper()
	return w.within(t, addr, o, 20*time.Second)
}

func (w way) within(t *testing.T, addr string, o oe.Options, limit time.Duration) oe.Finding {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return Ask(ctx, w.r, oe.Gateways(netip.MustParseAddr(addr), o))
}

func (w way) want(t *testing.T, addr string, o oe.Options, want oe.Cause) oe.Finding {
	t.Helper()
	f := w.find(t, addr, o)
	if f.Cause != want {
		t.Errorf("%s: %s (%s), not %s", addr, f.Cause, f.Why, want)
	}
	return f
}

func offers(f oe.Finding) string {
	var b strings.Builder
	for _, o := range f.Offers {
		fmt.Fprintf(&b, "%d %s %s %s\n", o.Precedence, o.Addr, rawkey.Describe(o.Key), o.Level)
	}
	return b.String()
}

var legacy = oe.Options{TXT: true}

// A05, A06, A07, A08, A21, A22: what the laboratory's sound names give: Ed25519,
// ECDSA and RSA, five long keys that need TCP, names by RFC 2317 and of IPv6, with
// and without a wildcard, a gateway by its name, TXT alone, beside a broken one,
// and without an address.
func TestGatewaysOfTheLab(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		for addr, want := range map[string]string{
			"192.0.2.1":        "10 192.0.2.1 RSA 3072 bits secure\n",
			"192.0.2.10":       "10 192.0.2.1 RSA 3072 bits secure\n",
			"192.0.2.11":       "10 192.0.2.1 RSA 3072 bits secure\n20 192.0.2.4 RSA 3072 bits secure\n",
			"192.0.2.12":       "10 192.0.2.2 RSA 3072 bits secure\n",
			"192.0.2.13":       "10 192.0.2.1 RSA 3072 bits secure\n",
			"192.0.2.14":       "10 192.0.2.1 RSA 3072 bits secure\n",
			"192.0.2.16":       "10 192.0.2.1 Ed25519 secure\n",
			"192.0.2.17":       "10 192.0.2.1 ECDSA P-256 secure\n",
			"192.0.2.20":       strings.Join([]string{"10", "20", "30", "40", "50", ""}, " 192.0.2.1 RSA 4096 bits secure\n"),
			"192.0.2.24":       "10 192.0.2.1 RSA 3072 bits secure\n",
			"192.0.2.26":       "10 192.0.2.26 Ed25519 secure\n",
			"192.0.2.130":      "10 192.0.2.129 Ed25519 secure\n",
			"2001:db8:a::1":    "10 2001:db8:a::1 Ed25519 secure\n",
			"2001:db8:b::f5":   "10 2001:db8:b::1 Ed25519 secure\n",
			"198.19.255.254":   "10 198.19.255.254 Ed25519 secure\n",
			"::ffff:192.0.2.1": "10 192.0.2.1 RSA 3072 bits secure\n",
		} {
			if diff := cmp.Diff(want, offers(w.want(t, addr, legacy, oe.CauseNone))); diff != "" {
				t.Errorf("%s:\n%s", addr, diff)
			}
		}
		f := w.want(t, "198.19.0.1", legacy, oe.CauseNone)
		key := labzones.HostKey(netip.MustParseAddr("198.19.0.1")).Public().(ed25519.PublicKey)
		if !rawkey.Equal(f.Offers[0].Key, key) || f.ProofEnd.Before(w.clk.now()) {
			t.Errorf("%+v", f)
		}
		w.want(t, "2001:db8:a::f5", legacy, oe.CauseNoRecord) // a neighbour hides the wildcard
		w.want(t, "192.0.2.15", legacy, oe.CauseUnusableKey)
		w.want(t, "192.0.2.18", legacy, oe.CauseUnusableKey)
	})
}

// C01, C02: proven to have no record, in all three ways of proving it; the
// answer is kept as long as the zone says, and not longer.
func TestC01C02NoRecord(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		for _, addr := range []string{"192.0.2.22", "192.0.2.23", "198.18.7.22", "198.18.7.23"} {
			f := w.want(t, addr, oe.Options{}, oe.CauseNoRecord)
			name := oe.ReverseName(netip.MustParseAddr(addr))
			asked := w.lab.Queries(name, oe.TypeIPSECKEY)
			if life := f.Expires.Sub(w.clk.now()); life != 30*time.Second {
				t.Errorf("%s is kept for %s, its SOA says 30s", addr, life)
			}
			w.clk.advance(29 * time.Second)
			w.want(t, addr, oe.Options{}, oe.CauseNoRecord)
			if again := w.lab.Queries(name, oe.TypeIPSECKEY); again != asked {
				t.Errorf("%s: asked again within the negative TTL", addr)
			}
			w.clk.advance(2 * time.Second)
			w.want(t, addr, oe.Options{}, oe.CauseNoRecord)
			if w.lab.Queries(name, oe.TypeIPSECKEY) == asked {
				t.Errorf("%s: not asked again after the negative TTL", addr)
			}
		}
	})
}

// C03, C04, C05: forged records, a wrong DS, expired and missing signatures:
// bogus, and no key comes of it.
// adversary.md OE-03.
func TestC03C04C05Bogus(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		for _, addr := range []string{"198.18.2.10", "198.18.2.11", "198.18.1.10", "198.18.3.10", "198.18.6.10", "198.18.6.23"} {
			o := legacy
			o.AcceptInsecure = true // not even then
			if f := w.want(t, addr, o, oe.CauseBogus); len(f.Offers) > 0 {
				t.Errorf("%s: the attacker's key is offered", addr)
			}
		}
	})
}

// C06: a zone that is provably unsigned.
// adversary.md OE-01, OE-03.
func TestC06Insecure(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		w.want(t, "198.18.8.10", oe.Options{}, oe.CauseInsecure)
		w.want(t, "198.18.8.23", oe.Options{}, oe.CauseInsecure)
		f := w.want(t, "198.18.8.12", oe.Options{AcceptInsecure: true}, oe.CauseNone)
		if got := offers(f); got != "10 198.18.8.12 Ed25519 weak\n" {
			t.Errorf("accepted: %s", got)
		}
	})
}

// C07: an insecure record may only delegate to its own address.
// adversary.md OE-06.
func TestC07ForeignGateway(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		if f := w.want(t, "198.18.8.10", oe.Options{AcceptInsecure: true}, oe.CauseInsecure); !strings.Contains(f.Why, "names another gateway") {
			t.Error(f.Why)
		}
	})
}

// C08: a dead server. The deadline is the inquiry's, whatever it is.
// adversary.md OE-08.
func TestC08DeadServer(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		if f := w.within(t, "198.18.4.10", legacy, 100*time.Millisecond); f.Cause != oe.CauseDNS || f.Why == "" {
			t.Errorf("%s (%s)", f.Cause, f.Why)
		}
	})
}

// C09: servers that answer, but not the question.
func TestC09Failures(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		for _, addr := range []string{"198.18.5.10", "198.18.9.21", "198.18.9.22", "198.18.9.23"} {
			w.want(t, addr, oe.Options{}, oe.CauseDNS)
		}
	})
}

// slow answers when it is told to.
type slow struct {
	answer chan oe.Answer
	asked  int
}

func (s *slow) Lookup(ctx context.Context, _ string, _ uint16) (oe.Answer, error) {
	s.asked++
	select {
	case a := <-s.answer:
		return a, nil
	case <-ctx.Done():
		return oe.Answer{}, ctx.Err()
	}
}

// C10: the answer comes after whoever asked has given up; the next one has it.
func TestC10LateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{answer: make(chan oe.Answer)}
		c := NewCache(s, time.Now)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if a, err := c.Lookup(ctx, "x.test", oe.TypeIPSECKEY); !errors.Is(err, context.DeadlineExceeded) || a.Security != oe.Indeterminate {
			t.Errorf("%+v, %v", a, err)
		}
		time.Sleep(time.Second) // of virtual time
		s.answer <- oe.Answer{Security: oe.Secure, Found: true, Raw: [][]byte{{1}}, Expires: time.Now().Add(time.Minute)}
		synctest.Wait()
		a, err := c.Lookup(context.Background(), "X.test.", oe.TypeIPSECKEY)
		if err != nil || !a.Found || s.asked != 1 {
			t.Errorf("%+v, %v, asked %d times", a, err, s.asked)
		}
		c.Close()
	})
}

// 10.6: what was forged is not believed any more once Forget is called, not even
// where the question was asked before and is answered after. Who waited for that
// answer gets it.
func TestForgetWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{answer: make(chan oe.Answer)}
		c := NewCache(s, time.Now)
		defer c.Close()
		waited := make(chan oe.Answer, 1)
		ask := func() {
			a, _ := c.Lookup(context.Background(), "x.test", oe.TypeIPSECKEY)
			waited <- a
		}
		go ask()
		synctest.Wait()
		c.Forget("")
		s.answer <- oe.Answer{Security: oe.Bogus, Why: "forged"}
		if a := <-waited; a.Security != oe.Bogus {
			t.Errorf("who waited has %+v", a)
		}
		go ask()
		synctest.Wait()
		if s.asked != 2 {
			t.Fatalf("asked %d times", s.asked)
		}
		s.answer <- oe.Answer{Security: oe.Secure, Expires: time.Now().Add(time.Minute)}
		if a := <-waited; a.Security != oe.Secure {
			t.Errorf("then %+v", a)
		}
		if a, _ := c.Lookup(context.Background(), "x.test", oe.TypeIPSECKEY); a.Security != oe.Secure || s.asked != 2 {
			t.Errorf("afterwards %+v, asked %d times", a, s.asked)
		}
	})
}

// C11: the first queries are lost.
func TestC11LostQueries(t *testing.T) {
	waysWith(t, Options{repeat: 20 * time.Millisecond}, func(t *testing.T, w way) { w.want(t, "198.18.9.14", oe.Options{}, oe.CauseNone) })
}

// C12: a loop, an endless chain, an answer that belongs to another name.
func TestC12Chains(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		for _, addr := range []string{"198.18.9.18", "198.18.9.19", "198.18.9.20"} {
			if f := w.find(t, addr, oe.Options{}); f.Cause != oe.CauseDNS && f.Cause != oe.CauseBogus {
				t.Errorf("%s: %s (%s)", addr, f.Cause, f.Why)
			}
		}
	})
}

// C13, C15: hostile records are ignored or malformed, and none of their
// gateways is offered.
// adversary.md OE-07.
func TestC13C15HostileRecords(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		for host, want := range map[int]oe.Cause{
			1: oe.CauseUnusableKey, 2: oe.CauseMalformed, 3: oe.CauseUnusableKey, 4: oe.CauseMalformed, 5: oe.CauseUnusableKey,
			6: oe.CauseUnusableKey, 7: oe.CauseUnusableKey, 8: oe.CauseUnusableKey, 9: oe.CauseUnusableKey, 10: oe.CauseUnusableKey,
			25: oe.CauseUnusableKey, 26: oe.CauseMalformed, 27: oe.CauseUnusableKey,
		} {
			w.want(t, fmt.Sprintf("198.18.9.%d", host), oe.Options{}, want)
		}
		w.want(t, "198.18.9.24", legacy, oe.CauseUnusableKey)
	})
}

// C14: 64 records in one answer.
func TestC14Flood(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		if f := w.want(t, "198.18.9.11", oe.Options{}, oe.CauseNone); len(f.Offers) != 16 {
			t.Errorf("%d offers", len(f.Offers))
		}
	})
}

// C16: a resolver that does not validate: no keys, and it is said.
// adversary.md OE-02.
func TestC16ResolverDoesNotValidate(t *testing.T) {
	_, at := serve(t, dnslab.Options{})
	r := open(t, Options{Servers: []netip.AddrPort{at}})
	if v := r.Validates(context.Background()); v.Validates || !strings.Contains(v.Why, "does not validate") {
		t.Errorf("%+v", v)
	}
	if a := lookup(t, r, "10.2.0.192.in-addr.arpa", oe.TypeIPSECKEY); a.Security != oe.Insecure || !a.Found {
		t.Errorf("%+v", a)
	}
}

// elsewhere lets an address that is not on this machine be reached here.
type elsewhere struct{ at netip.AddrPort }

func (e elsewhere) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, e.at.String())
}

// C17: a resolver elsewhere sets AD. It is ignored, unless the resolver is
// declared trusted.
// adversary.md OE-02.
func TestC17RemoteResolver(t *testing.T) {
	_, at := serve(t, dnslab.Options{Validates: true})
	for trust, want := range map[bool]oe.Security{false: oe.Insecure, true: oe.Secure} {
		r := open(t, Options{Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}, Trust: trust, Dialer: elsewhere{at}})
		a := lookup(t, r, "10.2.0.192.in-addr.arpa", oe.TypeIPSECKEY)
		if v := r.Validates(context.Background()); a.Security != want || v.Validates != trust || (v.Why == "") != trust {
			t.Errorf("resolver-trust=%v: %s (%s), %+v", trust, a.Security, a.Why, v)
		}
	}
}

// C19: a key that changes with every answer. Each time it is one of the two
// that are published, and never asked for more often than its TTL allows.
func TestC19FlappingKey(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		seen := map[string]int{}
		for range 20 {
			f := w.want(t, "198.18.9.15", oe.Options{}, oe.CauseNone)
			again := w.want(t, "198.18.9.15", oe.Options{}, oe.CauseNone)
			if !rawkey.Equal(f.Offers[0].Key, again.Offers[0].Key) {
				t.Error("asked again within the TTL")
			}
			seen[rawkey.KeyID(f.Offers[0].Key)]++
			w.clk.advance(time.Second)
		}
		if len(seen) != 2 {
			t.Errorf("%d different keys", len(seen))
		}
	})
}

// C20, C21, R15.6: a rollover has both keys in the answer; what is removed is
// gone when the TTL is over, and what is added is found when the negative one is.
// adversary.md OE-05, OE-15.
func TestC20C21R15_6ChangesArriveWithTheTTL(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		if f := w.want(t, "192.0.2.25", oe.Options{}, oe.CauseNone); len(f.Offers) != 2 {
			t.Errorf("rollover: %s", offers(f))
		}
		if err := w.lab.Replace(labzones.SiteA, "99 IN IPSECKEY 10 0 4 . +1dyZIckb5HqbqrodiPef1tCpqkojq7E0eoZX0DIJ2U=\n"); err != nil {
			t.Fatal(err)
		}
		w.clk.advance(59 * time.Second)
		w.want(t, "192.0.2.25", oe.Options{}, oe.CauseNone)
		w.clk.advance(2 * time.Second)
		w.want(t, "192.0.2.25", oe.Options{}, oe.CauseNoRecord)
		if err := w.lab.Replace(labzones.SiteA, "25 IN IPSECKEY 10 0 4 . +1dyZIckb5HqbqrodiPef1tCpqkojq7E0eoZX0DIJ2U=\n"); err != nil {
			t.Fatal(err)
		}
		w.clk.advance(31 * time.Second)
		w.want(t, "192.0.2.25", oe.Options{}, oe.CauseNone)
		w.r.Forget("25.2.0.192.in-addr.arpa")
		if err := w.lab.Replace(labzones.SiteA, ""); err != nil {
			t.Fatal(err)
		}
		w.want(t, "192.0.2.25", oe.Options{}, oe.CauseNoRecord)
	})
}

// C22: queries leave by the sockets that the daemon gives, which no policy
// applies to.
// adversary.md OE-17.
func TestC22SocketsOfTheDaemon(t *testing.T) {
	_, at := serve(t, dnslab.Options{Validates: true})
	refused := errors.New("no such socket")
	r := open(t, Options{Servers: []netip.AddrPort{at}, Dialer: noSocket{refused}})
	if a := lookup(t, r, "x.test", oe.TypeIPSECKEY); a.Security != oe.Indeterminate || !strings.Contains(a.Why, refused.Error()) {
		t.Errorf("%+v", a)
	}
}

type noSocket struct{ err error }

func (n noSocket) DialContext(context.Context, string, string) (net.Conn, error) { return nil, n.err }

// forger answers every query with forgeries first: a wrong ID, another question,
// no answer at all, noise; then with the truth.
func forger(t *testing.T, truth netip.AddrPort) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			query := append([]byte(nil), buf[:n]...)
			up, err := net.Dial("udp", truth.String())
			if err != nil {
				return
			}
			_, _ = up.Write(query)
			n, _ = up.Read(buf)
			_ = up.Close()
			answer := append([]byte(nil), buf[:n]...)
			wrongID, other := append([]byte(nil), answer...), append([]byte(nil), answer...)
			wrongID[0]++
			other[13] ^= 1 // the first letter of the question
			for _, b := range [][]byte{wrongID, other, query, {1, 2, 3}, nil, answer} {
				_, _ = pc.WriteTo(b, from)
			}
		}
	})
	t.Cleanup(func() { _ = pc.Close(); done.Wait() })
	return netip.MustParseAddrPort(pc.LocalAddr().String())
}

// C23: forged datagrams with a wrong ID or question are passed over, and the
// right answer is used.
// adversary.md OE-04.
func TestC23ForgedDatagrams(t *testing.T) {
	_, at := serve(t, dnslab.Options{Validates: true})
	r := open(t, Options{Servers: []netip.AddrPort{forger(t, at)}})
	if a := lookup(t, r, "26.2.0.192.in-addr.arpa", oe.TypeIPSECKEY); a.Security != oe.Secure || len(a.Raw) != 1 {
		t.Errorf("%+v", a)
	}
}

// C24: a TTL of 0 is used once, one of 68 years for a day.
// adversary.md OE-05.
func TestC24ExtremeTTLs(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		asked := 0
		for range 2 {
			w.want(t, "198.18.9.16", oe.Options{}, oe.CauseNone)
			n := w.lab.Queries("16.9.18.198.in-addr.arpa.", oe.TypeIPSECKEY)
			if n == asked {
				t.Error("TTL 0: the answer serves a second flow")
			}
			asked = n
		}
		f := w.want(t, "198.18.9.17", oe.Options{}, oe.CauseNone)
		if life := f.Expires.Sub(w.clk.now()); life != 24*time.Hour {
			t.Errorf("TTL 2^31-1: %s", life)
		}
	})
}

// An hour after the signatures end, what is validated here is bogus; a clock
// that is a year off makes all of it so (D20).
func TestClockOff(t *testing.T) {
	lab, at := serve(t, dnslab.Options{})
	year := func() time.Time { return time.Now().AddDate(1, 0, 0) }
	r := open(t, Options{Servers: []netip.AddrPort{at}, Method: BySelf, Anchors: anchors(t, lab), Now: year})
	if a := lookup(t, r, "10.2.0.192.in-addr.arpa", oe.TypeIPSECKEY); a.Security != oe.Bogus || !strings.Contains(a.Why, "out of its time") {
		t.Errorf("%+v", a)
	}
	if v := r.Validates(context.Background()); v.Validates || !strings.Contains(v.Why, "out of its time") {
		t.Errorf("%+v", v)
	}
}

// Without extended errors a failure of validation shows by the same question
// without validation.
func TestBogusWithoutReasons(t *testing.T) {
	_, at := serve(t, dnslab.Options{Validates: true, NoReasons: true})
	r := open(t, Options{Servers: []netip.AddrPort{at}})
	for name, want := range map[string]oe.Security{"10.2.18.198.in-addr.arpa": oe.Bogus, "10.5.18.198.in-addr.arpa": oe.Indeterminate} {
		if a := lookup(t, r, name, oe.TypeIPSECKEY); a.Security != want || len(a.Raw) > 0 {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// A second server is asked when the first does not answer or fails.
func TestSecondServer(t *testing.T) {
	_, at := serve(t, dnslab.Options{Validates: true})
	dead, err := net.ListenPacket("udp", "127.0.0.1:0") // takes all and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	r := open(t, Options{Servers: []netip.AddrPort{netip.MustParseAddrPort(dead.LocalAddr().String()), at}, repeat: 10 * time.Millisecond})
	if a := lookup(t, r, "26.2.0.192.in-addr.arpa", oe.TypeIPSECKEY); a.Security != oe.Secure {
		t.Errorf("%+v", a)
	}
	if a := lookup(t, open(t, Options{}), "x.test", oe.TypeIPSECKEY); !strings.Contains(a.Why, "no DNS server is known") {
		t.Errorf("%+v", a)
	}
}

// Of a thousand who want to know the same, one asks; at most 64 ask different
// things at once.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{}
		cache := NewCache(c, time.Now)
		var wg sync.WaitGroup
		for n := range 1000 {
			wg.Go(func() {
				if _, err := cache.Lookup(context.Background(), fmt.Sprintf("%d.test", n%500), oe.TypeIPSECKEY); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if c.most > inFlight || c.all != 500 {
			t.Errorf("%d at once, %d in all", c.most, c.all)
		}
		cache.Close()
		if _, err := cache.Lookup(context.Background(), "after.test", oe.TypeIPSECKEY); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

type counter struct {
	mu             sync.Mutex
	now, most, all int
}

func (c *counter) Lookup(context.Context, string, uint16) (oe.Answer, error) {
	c.mu.Lock()
	c.now++
	c.all++
	c.most = max(c.most, c.now)
	c.mu.Unlock()
	time.Sleep(time.Millisecond) // of virtual time
	c.mu.Lock()
	c.now--
	c.mu.Unlock()
	return oe.Answer{Security: oe.Secure, Expires: time.Now().Add(time.Minute)}, nil
}

// The cache does not grow without bound: the oldest goes first.
func TestCacheIsBounded(t *testing.T) {
	c := NewCache(&counter{}, time.Now)
	defer c.Close()
	c.mu.Lock()
	for n := range maxEntries + 10 {
		c.store(oe.Query{Name: fmt.Sprint(n), Type: 1}, oe.Answer{Security: oe.Secure, Expires: time.Now().Add(time.Hour)})
	}
	_, first := c.entries[oe.Query{Name: "9", Type: 1}]
	_, last := c.entries[oe.Query{Name: fmt.Sprint(maxEntries + 9), Type: 1}]
	c.mu.Unlock()
	if c.Len() != maxEntries || first || !last {
		t.Errorf("%d entries, the oldest there: %v, the newest: %v", c.Len(), first, last)
	}
}

// script answers a validator from bytes.
type script struct{ data io.Reader }

func (s script) exchange(_ context.Context, q dns.Question) (*dns.Message, error) {
	var head [2]byte
	if _, err := io.ReadFull(s.data, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, int(head[0])<<8|int(head[1]))
	if _, err := io.ReadFull(s.data, body); err != nil {
		return nil, err
	}
	return q.Parse(body)
}

// recorder writes down what a server answered, for script.
type recorder struct {
	at  netip.AddrPort
	out *strings.Builder
}

func (r recorder) exchange(_ context.Context, q dns.Question) (*dns.Message, error) {
	query, err := q.Pack()
	if err != nil {
		return nil, err
	}
	c, err := net.Dial("tcp", r.at.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_, _ = c.Write(append([]byte{byte(len(query) >> 8), byte(len(query))}, query...))
	buf := make([]byte, 2)
	if _, err := io.ReadFull(c, buf); err != nil {
		return nil, err
	}
	body := make([]byte, int(buf[0])<<8|int(buf[1]))
	if _, err := io.ReadFull(c, body); err != nil {
		return nil, err
	}
	r.out.Write(append(buf, body...))
	return q.Parse(body)
}

// OE-16: who controls a reverse zone cannot claim a forward name with it: keys
// of a name come from that name only, and a gateway's name in a reverse record
// is believed as far as the name's own address goes.
func TestAdv_OE_16_ReverseZoneClaimsNoName(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		evil := labzones.RSA("evil", 3072) // the key of 192.0.2.12's gateway, and of evil.example.test
		ask := func(i *oe.Inquiry) oe.Finding { return Ask(t.Context(), w.r, i) }
		if f := ask(oe.KeysOfName("gwa.example.test", legacy)); len(f.Offers) != 1 || rawkey.Equal(f.Offers[0].Key, evil) || f.Offers[0].Level != oe.LevelNamed {
			t.Errorf("%+v", f.Offers)
		}
		alice := netip.MustParseAddr("192.0.2.10")
		for name, peer := range map[string]oe.Speaker{"another name": {Name: "evil.example.test"}, "another address": {Addr: netip.MustParseAddr("192.0.2.2")}} {
			if f := ask(oe.MaySpeak(alice, peer, evil, legacy)); f.Cause != oe.CauseUnlisted {
				t.Errorf("%s speaks for alice: %s (%s)", name, f.Cause, f.Why)
			}
		}
		// And the other way round: a name whose A record points at somebody else's
		// address does not speak for that address.
		victim := netip.MustParseAddr("203.0.113.20")
		if f := ask(oe.MaySpeak(victim, oe.Speaker{Name: "evil.example.test", Addr: netip.MustParseAddr("198.51.100.1")}, evil, legacy)); f.Cause != oe.CauseUnlisted {
			t.Errorf("evil.example.test speaks for 203.0.113.20: %s (%s)", f.Cause, f.Why)
		}
	})
}

// OE-18: of a name with two addresses each is decided by its own reverse record.
func TestAdv_OE_18_EachAddressByItself(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		w.want(t, "2001:db8:b::77", legacy, oe.CauseNone)
		w.want(t, "192.0.2.22", legacy, oe.CauseNoRecord)
		if f := w.want(t, "2001:db8:a::1", legacy, oe.CauseNone); f.Offers[0].Addr.Is4() {
			t.Errorf("%+v", f.Offers)
		}
	})
}

// FuzzValidator: whatever servers answer, a validator neither panics nor calls
// anything Secure that is not what the zone says.
func FuzzValidator(f *testing.F) {
	s, at := serve(f, dnslab.Options{})
	anchors := anchors(f, s)
	newValidator := func(x asker) *Validator {
		return &Validator{x: x, anchors: anchors, watch: watch{now: time.Now}, zones: map[string]known{}}
	}
	truth := map[string]oe.Answer{}
	names := []string{"26.2.0.192.in-addr.arpa.", "130.2.0.192.in-addr.arpa.", "23.2.0.192.in-addr.arpa.", "23.7.18.198.in-addr.arpa.", "23.8.18.198.in-addr.arpa."}
	for n, name := range names {
		var rec strings.Builder
		a, err := newValidator(recorder{at: at, out: &rec}).Lookup(context.Background(), name, oe.TypeIPSECKEY)
		if err != nil || a.Security < oe.Insecure {
			f.Fatalf("%s: %+v, %v", name, a, err)
		}
		truth[name] = a
		f.Add(n, []byte(rec.String()))
	}
	f.Fuzz(func(t *testing.T, n int, data []byte) {
		name := names[uint(n)%uint(len(names))]
		a, _ := newValidator(script{strings.NewReader(string(data))}).Lookup(context.Background(), name, oe.TypeIPSECKEY)
		if a.Security == oe.Secure && (a.Found != truth[name].Found || !cmp.Equal(a.Raw, truth[name].Raw)) {
			t.Fatalf("Secure, and not what the zone says: %+v", a)
		}
	})
}
