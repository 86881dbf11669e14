package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The invariants of trust.md, 6.5, and when each is checked. All but I15 are
// breaches that name them.
var invariants = []struct{ id, what, when string }{
	{"I1", "both ends agree on keys, algorithms, identities and selectors", "when an SA is installed, an IKE SA is up, or a packet comes"},
	{"I2", "who is taken for a peer is that peer, once for each transcript", "when an IKE SA is up"},
	{"I3", "what is sent on exists at the receiver", "for each packet, and at rest"},
	{"I4", "nothing that a policy protects passes in the clear, nothing else is delivered", "for each packet and change of policy"},
	{"I5", "no number, SPI or key is used twice", "when an SA is installed, and for each packet"},
	{"I6", "a sequence number is accepted once", "for each packet"},
	{"I7", "what is half done, and all there is, is bounded", "after every event, and at rest"},
	{"I8", "one pair of SAs for each tunnel, no orphans", "at rest"},
	{"I9", "a rekeying loses no packet", "for each packet"},
	{"I10", "what is wanted carries, in bounded time", "at rest"},
	{"I11", "every exchange ends, and nothing spins", "after every event, and at rest"},
	{"I12", "what proves nothing changes nothing", "for each forged datagram"},
	{"I13", "no more goes to a stranger than came from it", "for each datagram"},
	{"I14", "what a peer brings about concerns that peer's SAs", "for each SA made or removed"},
	{"I15", "a seed has one history", "one seed in a hundred is run twice (package swarm)"},
	{"I16", "nothing is left of what was taken down", "at the end of a run in four"},
	{"I17", "what is agreed is the best that both allow", "when an IKE SA is up"},
}

// Every invariant is checked somewhere, and some test plants a fault that it finds:
// a mutant named by the invariant in the tables of the teeth tests, or wanted of one.
func TestEveryInvariantHasTeeth(t *testing.T) {
	code, tests := sources(t)
	for _, v := range invariants {
		checked := strings.Contains(code, fmt.Sprintf(`breach(%q`, v.id))
		bitten := regexp.MustCompile(`(?m)(^\t\t\{"` + v.id + `", "|wantBreach\(t, w, "` + v.id + `"\))`).MatchString(tests)
		if v.id == "I15" { // of two runs
			checked = strings.Contains(code, `ruleRepeat = "I15"`)
			bitten = strings.Contains(tests, "func TestHashFindsOtherChance")
		}
		if !checked || !bitten {
			t.Errorf("%s (%s): checked %v, with a mutant that it finds %v", v.id, v.what, checked, bitten)
		}
	}
}

// sources are the files of this package and of swarm: code, and tests.
func sources(t *testing.T) (code, tests string) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, "swarm/swarm.go") {
		text, err := os.ReadFile(f)
		switch {
		case err != nil:
			t.Fatal(err)
		case f == "invariants_test.go":
		case strings.HasSuffix(f, "_test.go"):
			tests += string(text)
		default:
			code += string(text)
		}
	}
	return code, tests
}
