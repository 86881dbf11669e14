package ikev2

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// cutters make both ends cut everything above 256 octets.
func cutters(p *pair) {
	for _, n := range []*node{p.west, p.east} {
		n.conns[0].FragmentSize = 256
	}
}

func fragmentsOf(p *pair, x ike.ExchangeType) (out []datagram) {
	for _, d := range p.sent {
		if exchangeOf(d) == x && isFragment(d.Msg) {
			out = append(out, d)
		}
	}
	return out
}

// Everything in fragments: establishing, rekeying, deleting.
func TestFragments(t *testing.T) {
	for _, cbc := range []bool{false, true} {
		p := newPair(t, 3)
		cutters(p)
		if cbc {
			p.west.conns[0].IKE = p.west.conns[0].IKE[1:]
		}
		w, _ := p.up()
		n := len(fragmentsOf(p, ike.Auth))
		if n < 2 {
			t.Errorf("IKE_AUTH in %d fragments", n)
		}
		for _, d := range p.sent {
			if len(d.Msg) > 256-32 && exchangeOf(d) != ike.SAInit {
				t.Errorf("%s of %d octets", exchangeOf(d), len(d.Msg))
			}
		}
		p.west.step(w, ike.Rekey{Child: w.children[0].serial})
		p.west.step(w, ike.Rekey{})
		p.settle()
		p.pass(time.Minute)
		p.check(1)
		if len(p.west.machines) != 1 || !p.west.machines[0].(*SA).fragments {
			t.Error("the successor forgets that both know fragments")
		}
	}
}

// Half of all datagrams are lost: what has come is kept, so it goes through.
func TestFragmentsLost(t *testing.T) {
	for seed := range 30 {
		rng := rand.New(rand.NewPCG(uint64(seed), 2))
		p := newPair(t, byte(seed))
		cutters(p)
		p.fate = func(d datagram) []datagram {
			if rng.Float64() < 0.4 {
				return nil
			}
			return []datagram{d, d}[:1+rng.IntN(2)]
		}
		w := p.west.initiate()
		p.pass(time.Minute)
		if w.state != stateUp {
			t.Fatalf("seed %d: not up\n%s", seed, p)
		}
		p.check(1)
	}
}

// Without the word of both there are no fragments.
func TestAdv_FRG_01_NotAgreed(t *testing.T) {
	for _, who := range []string{"west", "east"} {
		p := newPair(t, 3)
		cutters(p)
		n := p.west
		if who == "east" {
			n = p.east
		}
		n.conns[0].Fragmentation = ike.No
		_, e := p.up()
		if len(fragmentsOf(p, ike.Auth)) != 0 {
			t.Errorf("%s did not agree to fragments", who)
		}
		r := rudeTo(p, p.east, e)
		before := digest(e)
		r.fragments(nil, 2, 1, 2)
		if digest(e) != before {
			t.Error("a fragment did something")
		}
	}
}

// fragments sends an empty INFORMATIONAL request, or one with ps, cut into
// total fragments, of which those named are sent in that order.
func (r *rude) fragments(ps []wire.Payload, total int, numbers ...int) {
	r.fragmentsAs(r.sa.win.expect, ps, total, numbers...)
}

func (r *rude) fragmentsAs(id uint32, ps []wire.Payload, total int, numbers ...int) {
	for _, n := range numbers {
		r.victim.step(r.sa, ike.Received{Local: r.sa.local, Remote: r.sa.remote, Msg: r.fragment(id, ps, total, n)})
	}
}

func (r *rude) fragment(id uint32, ps []wire.Payload, total, n int) []byte {
	r.p.t.Helper()
	i, resp, err := r.sa.keys.ciphers(r.sa.chosen)
	if err != nil {
		r.p.t.Fatal(err)
	}
	h := ike.Header{SPIi: r.sa.spiI, SPIr: r.sa.spiR, Major: 2, Exchange: ike.Informational, MessageID: id}
	sealer := resp
	if !r.sa.first {
		h.Flags, sealer = ike.FlagInitiator, i
	}
	if ps == nil {
		ps = []wire.Payload{wire.NewNotify(ike.NotifyInitialContact, make([]byte, 200))}
	}
	plain := wire.AppendPayloads(nil, ps)
	size := (len(plain) + total - 1) / total
	f := wire.SKF{Number: uint16(n), Total: uint16(total)}
	if n == 1 {
		f.Next = ps[0].Type()
	}
	from, to := min((n-1)*size, len(plain)), min(n*size, len(plain))
	return wire.SealFragment(nil, h, f, plain[from:to], sealer)
}

func rudeFragments(t *testing.T) (*pair, *rude) {
	p := newPair(t, 41)
	_, e := p.up()
	return p, rudeTo(p, p.east, e)
}

// answers is how many datagrams the victim has sent since the last call.
func (r *rude) answers() int {
	n := len(r.p.flying)
	r.p.flying = nil
	return n
}

// A total below that of the set is dropped; a larger one begins a new set.
func TestAdv_FRG_03_Totals(t *testing.T) {
	_, r := rudeFragments(t)
	r.fragments(nil, 3, 1, 2)
	r.fragments(nil, 2, 2, 1)
	if r.answers() != 0 || len(r.sa.asking.pieces) != 3 || r.sa.asking.have != 2 {
		t.Fatalf("a smaller total changed the set: %d of %d", r.sa.asking.have, len(r.sa.asking.pieces))
	}
	r.fragments(nil, 4, 4)
	if len(r.sa.asking.pieces) != 4 || r.sa.asking.have != 1 {
		t.Fatal("a larger total did not begin a new set")
	}
	r.fragments(nil, 3, 3)
	r.fragments(nil, 4, 1, 2, 3)
	if r.answers() != 1 || r.sa.asking.pieces != nil {
		t.Error("the new set was not completed")
	}
}

// Every fragment twice, and forged ones among them: only the forged are lost
// (FRG-04, FRG-05), in all orders of six (FRG-15).
func TestAdv_FRG_04_05_15_OrdersAndForgeries(t *testing.T) {
	_, r := rudeFragments(t)
	orders := 0
	permute([]int{1, 2, 3, 4, 5, 6}, func(order []int) {
		orders++
		for i, n := range order {
			msg := r.fragment(r.sa.win.expect, nil, 6, n)
			forged := slices.Clone(msg)
			forged[len(forged)-1] ^= 1
			r.sa.icvFailures = ike.Bucket{}
			r.deliver(forged)
			if r.sa.asking.have != i {
				t.Fatal("a forged fragment was kept")
			}
			r.deliver(msg)
			if i < 5 {
				r.deliver(msg)
				if r.sa.asking.have != i+1 || r.answers() != 0 {
					t.Fatalf("%v: %d kept after %d", order, r.sa.asking.have, i+1)
				}
			}
		}
		r.sa.win.asks = ike.Bucket{}
		if r.answers() != 1 {
			t.Fatalf("%v: no answer", order)
		}
	})
	if orders != 720 {
		t.Fatal(orders)
	}
}

func (r *rude) deliver(msg []byte) {
	r.victim.step(r.sa, ike.Received{Local: r.sa.local, Remote: r.sa.remote, Msg: slices.Clone(msg)})
}

func permute(list []int, f func([]int)) {
	var walk func(k int)
	walk = func(k int) {
		if k == len(list) {
			f(list)
			return
		}
		for i := k; i < len(list); i++ {
			list[k], list[i] = list[i], list[k]
			walk(k + 1)
			list[k], list[i] = list[i], list[k]
		}
	}
	walk(0)
}

// The rest never comes: the buffer is freed, and the whole set may come again.
func TestAdv_FRG_07_NeverComplete(t *testing.T) {
	p, r := rudeFragments(t)
	r.fragments(nil, 3, 1, 3)
	p.pass(assemblyLife + time.Second)
	if r.sa.asking.pieces != nil || !r.sa.asking.until.IsZero() {
		t.Fatal("the buffer is kept for ever")
	}
	r.fragments(nil, 3, 1, 2, 3)
	if r.answers() != 1 {
		t.Error("the second set was not completed")
	}
}

// Only the message ID that is next gets a buffer, and no more than so much.
func TestAdv_FRG_08_Bounds(t *testing.T) {
	_, r := rudeFragments(t)
	before := digest(r.sa)
	for id := range uint32(1000) {
		if id != r.sa.win.expect {
			r.fragmentsAs(id, nil, 2, 2)
		}
	}
	for _, total := range []int{maxFragments + 1, 65535} {
		r.deliver(r.fragment(r.sa.win.expect, []wire.Payload{wire.NewNotify(ike.NotifyInitialContact, make([]byte, 10))}, total, 2))
	}
	if digest(r.sa) != before {
		t.Fatal("something was kept")
	}
	big := []wire.Payload{wire.NewNotify(ike.NotifyInitialContact, make([]byte, 40000)), wire.NewNotify(ike.NotifyInitialContact, make([]byte, 40000))}
	for n := 1; n <= 3; n++ {
		r.fragments(big, 3, n)
		if r.sa.asking.octets > maxAssembled {
			t.Fatal("more octets than allowed")
		}
	}
	if r.answers() != 0 {
		t.Error("answered")
	}
}

// A message that is complete and has too many payloads ends the IKE SA.
func TestAdv_FRG_09_TooManyPayloads(t *testing.T) {
	p, r := rudeFragments(t)
	var ps []wire.Payload
	for range 129 {
		ps = append(ps, wire.NewNotify(ike.NotifyInitialContact, nil))
	}
	r.fragments(ps, 4, 1, 2, 3, 4)
	if r.sa.state != stateLinger || r.answers() != 1 {
		t.Errorf("state %s\n%s", r.sa.stateName(), p)
	}
}

// SK and SKF copies of one request, and fragments cut otherwise the second
// time, are one request (FRG-11, FRG-12); the answer is repeated for the first
// fragment only, not for forty (FRG-13).
func TestAdv_FRG_11_12_13_Repeated(t *testing.T) {
	_, r := rudeFragments(t)
	id := r.sa.win.expect
	r.fragments(nil, 2, 1, 2)
	if r.answers() != 1 {
		t.Fatal("no answer")
	}
	at := r.sa.win.expect
	r.askID(id, ike.Informational, wire.NewNotify(ike.NotifyInitialContact, make([]byte, 200)))
	if r.answers() != 0 || r.sa.win.expect != at {
		t.Error("the SK copy was worked on")
	}
	for n := 2; n <= 40; n++ {
		r.fragmentsAs(id, nil, 40, n)
	}
	if r.answers() != 0 {
		t.Error("answered to later fragments")
	}
	r.fragmentsAs(id, nil, 40, 1)
	if r.answers() != 1 || r.sa.win.expect != at {
		t.Error("the first fragment does not bring the answer")
	}
	forged := r.fragment(id, nil, 40, 1)
	forged[40] ^= 1
	r.deliver(forged)
	if r.answers() != 0 {
		t.Error("answered to a forged fragment")
	}
}

// A flood of forged fragments does not keep an honest set from completing.
func TestAdv_FRG_14_Flood(t *testing.T) {
	_, r := rudeFragments(t)
	for n := 1; n <= 6; n++ {
		for range 300 {
			forged := r.fragment(r.sa.win.expect, nil, 6, n)
			forged[len(forged)-1] ^= 1
			r.deliver(forged)
		}
		r.fragments(nil, 6, n)
	}
	if r.answers() != 1 {
		t.Error("the honest set did not complete")
	}
}

// The IKE SA ends with a set half done: nothing is left, late fragments drop.
func TestAdv_FRG_17_HalfDoneAtTheEnd(t *testing.T) {
	p, r := rudeFragments(t)
	late := r.fragment(r.sa.win.expect, nil, 3, 2)
	r.fragments(nil, 3, 1)
	p.east.step(r.sa, ike.Delete{})
	p.settle()
	before := digest(r.sa)
	r.deliver(late)
	if r.sa.asking.pieces != nil || digest(r.sa) != before {
		t.Error("fragments are kept")
	}
}

// V-A's m3 in two fragments gives the inner payloads of m3.
func TestAdv_FRG_16_VectorVA(t *testing.T) {
	all := map[string]string{}
	for _, c := range vectors(t, "exchange_va.txt") {
		for k, v := range c {
			all[k] = v
		}
	}
	h := hexed{t, all}
	c := chosenVA()
	ni, nr := h.get("Ni"), h.get("Nr")
	k := deriveIKE(c, seed(c.PRF, ni, nr, h.secret("g_ir")), ni, nr, h.spi("SPIi"), h.spi("SPIr"))
	i, _, err := k.ciphers(c)
	if err != nil {
		t.Fatal(err)
	}
	s := &step{SA: &SA{fragments: true, opener: i}, now: epoch}
	var whole opened
	for n := 2; n >= 1; n-- {
		msg := h.get(fmt.Sprintf("m3_frag%d", n))
		head, err := ike.ParseHeader(msg)
		if err != nil {
			t.Fatal(err)
		}
		if whole, err = s.assemble(inbound{Header: head, msg: msg}); (err == nil) != (n == 1) {
			t.Fatal(err)
		}
	}
	equal(t, "m3", whole.plain, h.get("m3_inner"))
}
