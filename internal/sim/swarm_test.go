package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Every kind of event is in some seed's plan.
func TestSwarmKinds(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(300) {
		for _, line := range NewPlan(seed).Steps {
			w := strings.Fields(line)
			for _, word := range w[2:min(4, len(w))] {
				seen[word]++
			}
		}
	}
	for _, verb := range []string{"up", "route", "down", "rekey", "rekey-ike", "drop", "probe", "ping", "crash", "start", "cut", "mend", "suspend", "leap", "move", "rebind", "replay", "forge"} {
		if seen[verb] == 0 {
			t.Errorf("no plan of 300 has %q", verb)
		}
	}
}

// A plan is cut down to what the failure needs: here a wire that nobody mends.
func TestShrink(t *testing.T) {
	p := NewPlan(3)
	p.Steps = append(p.Steps, fmt.Sprintf("at %s cut west east", stepTime(p.Steps[len(p.Steps)-1])))
	p.Tail = slices.DeleteFunc(p.Tail, func(line string) bool { return strings.HasSuffix(line, " calm") })
	script, runs := Shrink(p, "I10", 300)
	text := strings.Join(script, "\n")
	if o := Run(script, false); o.Failed() == nil || o.Failed().Rule != "I10" {
		t.Errorf("the script that is left does not fail: %v", o.World.Breaches)
	}
	if steps := len(script) - strings.Count(text, "node ") - strings.Count(text, "tunnel ") - len(p.Tail); runs > 300 || steps > 5 || !strings.Contains(text, "cut west east") {
		t.Errorf("%d runs left %d steps:\n%s", runs, steps, text)
	}
}
