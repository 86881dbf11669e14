package interop

import (
	"fmt"
	"testing"

	"cygnet/internal/lab"
)

// Three frames of ten are lost in each direction, some arrive twice or late;
// the tunnel comes up all the same, whoever begins, and goes down again.
func TestLossyWire(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute of waiting for retransmissions")
	}
	sides(t, func(t *testing.T, byUs bool) {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
				r := start(t, plan{
					loss:    &lab.Loss{Drop: 0.3, Duplicate: 0.1, Swap: 0.1, Seed: seed},
					conn:    "retransmit-interval=200 keyingtries=3",
					options: []string{"retransmit_timeout = 0.3", "retransmit_tries = 12", "retransmit_base = 1.2"},
				})
				r.initiate(byUs)
				if _, lost := r.bad.Counts(); lost == 0 {
					t.Error("nothing was lost: the test tests nothing")
				}
				r.bad.SetLoss(lab.Loss{})
				r.traffic()
			})
		}
	})
}
