package connection

import (
	"slices"
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// What the data plane no longer has is found, once for each pair; a pair that ends
// anyway is left alone.
func TestLost(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"), describe("b", "10.1.0.0/24", "10.3.0.0/24"))
	w.up("a")
	w.up("b")
	all := func(ipsec.SAID) bool { return true }
	none := func(ipsec.SAID) bool { return false }
	if got := w.table.Lost(all); len(got) != 0 {
		t.Errorf("%v is lost though all is there", got)
	}
	b := w.conn("b").using()
	notOut := func(id ipsec.SAID) bool { return id != b.up.Out }
	if got, want := w.table.Lost(notOut), []ToMachine{{b.ike, ike.Plane{Event: ipsec.Lost{ID: b.up.Out}}}}; !slices.Equal(got, want) {
		t.Errorf("lost: %v", got)
	}
	if got := w.table.Lost(none); len(got) != 2 {
		t.Errorf("lost: %v", got)
	}
	w.step(Down{Name: "b"})
	if got := w.table.Lost(none); len(got) != 1 {
		t.Errorf("lost while b goes down: %v", got)
	}
}
