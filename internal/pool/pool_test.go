package pool

import (
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var (
	t0   = time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	any4 = netip.IPv4Unspecified()
	any6 = netip.IPv6Unspecified()
)

func ranges(t *testing.T, texts ...string) []Range {
	t.Helper()
	var list []Range
	for _, text := range texts {
		r, err := ParseRange(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

func TestParseRange(t *testing.T) {
	for _, c := range []struct {
		text, want string
		size       uint64
	}{
		{"10.9.0.1", "10.9.0.1", 1},
		{"10.9.0.1-10.9.1.0", "10.9.0.1-10.9.1.0", 256},
		{"10.9.0.0/24", "10.9.0.1-10.9.0.254", 254},
		{"10.9.0.77/24", "10.9.0.1-10.9.0.254", 254},
		{"10.9.0.8/31", "10.9.0.8-10.9.0.9", 2},
		{"10.9.0.8/32", "10.9.0.8", 1},
		{"2001:db8::/120", "2001:db8::1-2001:db8::ff", 255},
		{"2001:db8::/64", "2001:db8::1-2001:db8::ffff:ffff:ffff:ffff", math.MaxUint64},
		{"2001:db8::-2001:db8:0:1::", "2001:db8::-2001:db8:0:1::", math.MaxUint64},
		{"::ffff:10.9.0.1", "10.9.0.1", 1},
	} {
		r, err := ParseRange(c.text)
		if err != nil || r.String() != c.want || r.Size() != c.size {
			t.Errorf("%s: %s of %d, %v; want %s of %d", c.text, r, r.Size(), err, c.want, c.size)
		}
		if again, err := ParseRange(r.String()); err != nil || again != r {
			t.Errorf("%s reads as %s again, %v", r, again, err)
		}
	}
	for _, text := range []string{"", "10.9.0", "10.9.0.9-10.9.0.1", "10.9.0.1-2001:db8::1", "10.9.0.0/33", "224.0.0.0-224.0.0.9", "fe80::1%eth0", "0.0.0.0-10.0.0.0", "10.0.0.1-"} {
		if r, err := ParseRange(text); err == nil {
			t.Errorf("%q is read as %s", text, r)
		}
	}
}

// taker asks on behalf of one owner.
func (b *Book) taker(t *testing.T, list []Range) func(at time.Duration, owner string, want netip.Addr) string {
	return func(at time.Duration, owner string, want netip.Addr) string {
		t.Helper()
		a, err := b.Take(t0.Add(at), Request{Owner: owner, Ranges: list, Want: want, Alone: true})
		if err != nil {
			return err.Error()
		}
		return a.String()
	}
}

func TestBook(t *testing.T) {
	var b Book
	take := b.taker(t, ranges(t, "10.9.0.1-10.9.0.3", "2001:db8::1-2001:db8::2"))
	for _, c := range []struct {
		at    time.Duration
		owner string
		want  netip.Addr
		got   string
	}{
		{0, "ann", any4, "10.9.0.1"},
		{0, "ann", any6, "2001:db8::1"},
		{0, "ben", any4, "10.9.0.2"},
		{0, "ann", any4, "10.9.0.1"}, // its own, a second time
		{0, "cat", netip.MustParseAddr("10.9.0.2"), "10.9.0.3"},
		{0, "dan", any4, ErrFull.Error()},
		{0, "dan", any6, "2001:db8::2"},
	} {
		if got := take(c.at, c.owner, c.want); got != c.got {
			t.Errorf("%s asks for %s and gets %s, not %s", c.owner, c.want, got, c.got)
		}
	}
	b.Return(t0, "ben", netip.MustParseAddr("10.9.0.2"))
	b.Return(t0, "ann", netip.MustParseAddr("10.9.0.1"))
	if got := take(Rest-1, "dan", any4); got != ErrFull.Error() {
		t.Errorf("an address that does not rest long goes to another: %s", got)
	}
	if got := take(Rest, "dan", any4); got != "10.9.0.2" {
		t.Errorf("what has rested is not given: %s", got)
	}
	if got := take(Rest, "ben", any4); got != ErrFull.Error() {
		t.Errorf("ben gets %s, though ann still uses .1 once", got)
	}
}

func TestBookSticks(t *testing.T) {
	var b Book
	take := b.taker(t, ranges(t, "10.9.0.0/29"))
	first := take(0, "ann", any4)
	take(0, "ben", any4)
	b.Return(t0, "ann", netip.MustParseAddr(first))
	for range 3 {
		take(time.Hour, "cat", any4)
	}
	if got := take(time.Hour, "ann", any4); got != first {
		t.Errorf("ann had %s and gets %s", first, got)
	}
}

// Owners that are not known to be one peer never share an address.
func TestBookShares(t *testing.T) {
	var b Book
	list := ranges(t, "10.9.0.1-10.9.0.2")
	ask := func() (netip.Addr, error) {
		return b.Take(t0, Request{Owner: "192.168.1.10", Ranges: list, Want: any4})
	}
	one, _ := ask()
	two, err := ask()
	if err != nil || one == two {
		t.Fatalf("%s and %s, %v", one, two, err)
	}
	if _, err := ask(); !errors.Is(err, ErrFull) {
		t.Errorf("a third: %v", err)
	}
}

func TestBookRestores(t *testing.T) {
	var b Book
	take := b.taker(t, ranges(t, "10.9.0.1-10.9.0.9"))
	take(0, "ann", any4)
	take(0, "ben", any4)
	b.Return(t0, "ben", netip.MustParseAddr("10.9.0.2"))
	kept := b.Changed()
	if len(kept) != 2 || kept[0].Uses != 1 || kept[1].Uses != 0 {
		t.Fatalf("changed: %v", kept)
	}
	if again := b.Changed(); len(again) != 0 {
		t.Errorf("changed again: %v", again)
	}
	var c Book
	c.Restore(t0.Add(time.Hour), kept)
	if !slices.EqualFunc(c.Leases(), kept, func(a, b Lease) bool { return a.Addr == b.Addr && a.Owner == b.Owner && a.Uses == 0 }) {
		t.Errorf("restored: %v", c.Leases())
	}
	take = c.taker(t, ranges(t, "10.9.0.1-10.9.0.9"))
	if got := take(time.Hour, "cat", any4); got != "10.9.0.3" {
		t.Errorf("cat gets %s", got)
	}
	if got := take(time.Hour, "ann", any4); got != "10.9.0.1" {
		t.Errorf("ann gets %s", got)
	}
}

// Whatever happens, no address is held by two owners, and an owner that is
// alone has one of each family.
func TestBookNeverTwice(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		var b Book
		take := b.taker(t, ranges(t, "10.9.0.1-10.9.0.7"))
		held := map[string]string{} // by address
		uses := map[string]int{}
		owners := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
		at := time.Duration(0)
		for range 300 {
			at += time.Duration(r.IntN(60)) * time.Second
			owner := owners[r.IntN(len(owners))]
			if r.IntN(2) == 0 {
				got := take(at, owner, any4)
				if _, err := netip.ParseAddr(got); err != nil {
					continue
				}
				if who := held[got]; who != "" && who != owner {
					t.Fatalf("seed %d: %s is held by %s and %s", seed, got, who, owner)
				}
				held[got] = owner
				uses[got]++
				continue
			}
			for a, who := range held {
				if who != owner {
					continue
				}
				b.Return(t0.Add(at), owner, netip.MustParseAddr(a))
				if uses[a]--; uses[a] == 0 {
					delete(held, a)
				}
			}
		}
	}
}

func BenchmarkTake(b *testing.B) {
	list := []Range{Hosts(netip.MustParsePrefix("10.0.0.0/8"))}
	var book Book
	for i := 0; b.Loop(); i++ {
		owner := netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}).String()
		if _, err := book.Take(t0, Request{Owner: owner, Ranges: list, Want: any4}); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "10.0.0.1-10.0.0.2", "::/0", "2001:db8::1", "1.2.3.4-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRange(text)
		if err != nil {
			return
		}
		if r.Last.Less(r.First) || r.Size() == 0 {
			t.Fatalf("%q is read as %s of %d", text, r, r.Size())
		}
	})
}

// A peer that asks a thousand times has one address, and leaves the others their
// own; the one for whom there is none hears that there is none.
func TestAdv_RES_16_OneAsksForAll(t *testing.T) {
	var b Book
	take := b.taker(t, ranges(t, "10.9.0.1-10.9.0.3"))
	for i := range 1000 {
		want := netip.AddrFrom4([4]byte{10, 9, 0, byte(i % 8)})
		if got := take(0, "greedy", want); got != "10.9.0.1" {
			t.Fatalf("asked for %s the %d. time, it gets %s", want, i+1, got)
		}
	}
	for _, c := range []struct{ owner, got string }{{"ann", "10.9.0.2"}, {"ben", "10.9.0.3"}} {
		if got := take(0, c.owner, any4); got != c.got {
			t.Errorf("%s gets %s", c.owner, got)
		}
	}
	if got := take(0, "cat", any4); got != ErrFull.Error() {
		t.Errorf("cat gets %s", got)
	}
}
