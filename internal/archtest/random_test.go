package archtest

import "testing"

// seeded are the packages whose chance comes from a seed on purpose.
var seeded = map[string]string{
	"internal/sim": "a run is repeated from its seed",
	"internal/lab": "which packets a bad link loses, and what is sent to try it, are no secrets",
}

// Keys, nonces and SPIs come from crypto/rand, which ends the process when the
// kernel gives nothing; no other generator is within reach of what makes them
// (CRY-25).
func TestOneSourceOfRandomness(t *testing.T) {
	used := map[string]bool{}
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			if imp != "math/rand" && imp != "math/rand/v2" {
				continue
			}
			used[p.name()] = true
			if seeded[p.name()] == "" {
				t.Errorf("%s imports %s", p.name(), imp)
			}
		}
	}
	for name := range seeded {
		if !used[name] {
			t.Errorf("%s needs no exception any more", name)
		}
	}
}
