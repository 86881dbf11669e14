package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// A mesh is told with its figures, as text and as JSON; one that cannot be is
// refused in a line.
func TestSimulateMesh(t *testing.T) {
	r := runIpsec(t, "simulate", "--mesh", "5")
	for _, want := range []string{"5 gateways, 10 paths, ", "10 handshakes, 10 IKE SAs and 10 Child SAs rekeyed\n", "30 carried\n", "violations  0\n"} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("no %q in %+v", want, r)
		}
	}
	var got meshRun
	r = runIpsec(t, "simulate", "--mesh", "4", "--json")
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || got.Schema != 1 || got.Gateways != 4 || got.Paths != 6 || got.Stats.DataDelivered != 18 || got.Memory <= 0 || len(got.Stages) != 4 {
		t.Errorf("%v: %+v of %s", err, got, r.out)
	}
	if r := runIpsec(t, "simulate", "--mesh", "1"); r.code != 1 || !strings.Contains(r.err, "a mesh of 1 gateways: it has from 2 to 16384") {
		t.Errorf("%+v", r)
	}
}
