package firewall

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"cygnet/internal/ipsec"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// decide is what layers must amount to: the first match decides.
func decide(list []box, device string, f ipsec.Flow) (uint32, bool) {
	for _, b := range list {
		if (b.device == "" || b.device == device) && b.Contains(f) {
			return b.value, true
		}
	}
	return 0, false
}

func TestLayersDecideAsTheListDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	ports := []ipsec.Ports{{}, {}, {Lo: 80, Hi: 80}, {Lo: 1, Hi: 1023}, {Lo: 0, Hi: 0xffff}}
	// A small world, so that boxes overlap in all ways.
	somePrefix := func() netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(8))}), 29+r.IntN(4)).Masked()
	}
	for range 2000 {
		var list []box
		for range 1 + r.IntN(12) {
			b := box{Selector: ipsec.Selector{Src: somePrefix(), Dst: somePrefix()}, value: uint32(r.IntN(2))}
			if r.IntN(3) == 0 {
				b.Proto, b.SrcPorts, b.DstPorts = []uint8{6, 17}[r.IntN(2)], ports[r.IntN(5)], ports[r.IntN(5)]
			}
			if r.IntN(3) == 0 {
				b.device = []string{"a", "b"}[r.IntN(2)]
			}
			list = append(list, b)
		}
		got := layers(list)
		for _, l := range got {
			for i, b := range l.boxes {
				if b.shape() != l.shape {
					t.Fatalf("a box of shape %+v lies in a layer of %+v", b.shape(), l.shape)
				}
				for _, c := range l.boxes[:i] {
					if b.overlaps(c) {
						t.Fatalf("boxes %+v and %+v of one layer overlap", b, c)
					}
				}
			}
		}
		var flat []box
		for _, l := range got {
			flat = append(flat, l.boxes...)
		}
		for range 50 {
			f := ipsec.Flow{Src: netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(8))}), Dst: netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(8))}),
				Proto: []uint8{6, 17, 1}[r.IntN(3)], SrcPort: uint16([]int{0, 80, 443, 5000}[r.IntN(4)]), DstPort: uint16([]int{0, 80, 443, 5000}[r.IntN(4)])}
			device := []string{"a", "b", "c"}[r.IntN(3)]
			wantV, wantOK := decide(list, device, f)
			gotV, gotOK := decide(flat, device, f)
			if wantV != gotV || wantOK != gotOK {
				t.Fatalf("%v by %s: layers decide %d (%v), the list %d (%v)\nlist %+v", f, device, gotV, gotOK, wantV, wantOK, list)
			}
		}
	}
}

// The usual gateway: one layer, however many connections.
func TestLayersAreFew(t *testing.T) {
	var list []box
	for i := range 5000 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 8), byte(i), 0}), 24)
		list = append(list, box{Selector: ipsec.Selector{Src: p, Dst: prefix("10.1.0.0/24")}, value: drop})
		list = append(list, box{Selector: ipsec.Selector{Src: p, Dst: prefix("10.2.0.0/16")}, value: drop})
	}
	if got := layers(list); len(got) != 1 || len(got[0].boxes) != 10000 {
		t.Errorf("%d layers", len(got))
	}
	// One that covers all the others comes after them, and needs its own.
	list = append(list, box{Selector: ipsec.Selector{Src: prefix("0.0.0.0/0"), Dst: prefix("10.0.0.0/8")}, value: drop})
	if got := layers(list); len(got) != 2 || len(got[1].boxes) != 1 {
		t.Errorf("%d layers with one above all", len(got))
	}
	// Before them, it leaves nothing to decide.
	if got := layers(append([]box{list[10000]}, list...)); len(got) != 1 || len(got[0].boxes) != 1 {
		t.Errorf("%d layers with one before all", len(got))
	}
}

func TestElement(t *testing.T) {
	b := box{Selector: ipsec.Selector{Src: prefix("10.1.0.0/16"), Dst: prefix("10.2.0.7/32"), Proto: 6,
		DstPorts: ipsec.Ports{Lo: 80, Hi: 88}}}
	lo := []byte{10, 1, 0, 0, 10, 2, 0, 7, 6, 0, 0, 0, 0, 0, 0, 0, 0, 80, 0, 0}
	hi := []byte{10, 1, 255, 255, 10, 2, 0, 7, 6, 0, 0, 0, 255, 255, 0, 0, 0, 88, 0, 0}
	// With ports the device is no part of the key: see shape.only.
	for _, device := range []string{"", "eth0"} {
		b.device = device
		if e := b.element(); !reflect.DeepEqual(e.Key, lo) || !reflect.DeepEqual(e.KeyEnd, hi) {
			t.Errorf("element %v - %v, want %v - %v", e.Key, e.KeyEnd, lo, hi)
		}
		if k := b.shape().key(goesBy); int(k.words*4) != len(lo) || len(k.types) != 5 {
			t.Errorf("a key of %d words and %d types for %d octets", k.words, len(k.types), len(lo))
		}
	}
	b.DstPorts = ipsec.Ports{}
	dev := append([]byte("eth0"), make([]byte, 12)...)
	if e := b.element(); !reflect.DeepEqual(e.Key, append(dev, lo[:12]...)) {
		t.Errorf("element with a device: %v", e.Key)
	}
	// The largest key fits the registers.
	b.Src, b.Dst = prefix("2001:db8::/32"), prefix("2001:db8:1::/48")
	if k := b.shape().key(goesBy); k.words > 16 {
		t.Errorf("a key of %d words does not fit 16 registers", k.words)
	}
}

// FuzzUserdata reads what others' rules may carry.
func FuzzUserdata(f *testing.F) {
	f.Add([]byte("\x00\x07cygnet\x00"))
	f.Add([]byte{1, 200, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := rawRule{userdata: b}
		_, _ = r.comment(), r.tagged(Tag)
	})
}

func TestCommentOfARule(t *testing.T) {
	for _, c := range []struct{ userdata, want string }{
		{"\x00\x07cygnet\x00", "cygnet"},
		{"\x05\x01x\x00\x03ab\x00", "ab"},
		{"\x00\x09cut", ""},
		{"\x00", ""},
		{"", ""},
	} {
		if got := (rawRule{userdata: []byte(c.userdata)}).comment(); got != c.want {
			t.Errorf("comment of %q is %q, want %q", c.userdata, got, c.want)
		}
	}
}
