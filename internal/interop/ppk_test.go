package interop

import (
	"strings"
	"testing"
)

const ppkHex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// ppkPlan gives both ends a PPK; theirs is its name at strongSwan's.
func ppkPlan(ours, theirs, theirID string) plan {
	return plan{conn: "ppk=" + ours, charon: "ppk_id = " + theirID + "\nppk_required = " + theirs, spoil: func(x *parts) {
		x.secrets += westID + " " + eastID + " : PPKS \"alpha\" 0x" + ppkHex + "\n"
		x.swanctl = strings.Replace(x.swanctl, "secrets {", "secrets {\n\tppk-lab {\n\t\tid = "+theirID+"\n\t\tsecret = 0x"+ppkHex+"\n\t}", 1)
	}}
}

// RFC 8784 with strongSwan: used where both have it, done without where only
// one has and may, refused where it must.
func TestPPK(t *testing.T) {
	t.Run("both insist", func(t *testing.T) {
		sides(t, func(t *testing.T, byUs bool) {
			r := start(t, ppkPlan("insist", "yes", "alpha"))
			r.initiate(byUs)
			r.traffic()
			if log := r.log(); !strings.Contains(log, `using PPK "alpha"`) {
				t.Errorf("no PPK was used:\n%s", log)
			}
		})
	})
	t.Run("another name", func(t *testing.T) {
		sides(t, func(t *testing.T, byUs bool) {
			p := ppkPlan("yes", "no", "beta")
			if byUs { // as responder it wants the PPK of that name, or any if it names none
				p.charon = ""
			}
			r := start(t, p)
			r.initiate(byUs)
			r.traffic()
			if log := r.log(); strings.Contains(log, "using PPK") {
				t.Errorf("a PPK was used:\n%s", log)
			}
		})
	})
	t.Run("insisted on", func(t *testing.T) {
		sides(t, func(t *testing.T, byUs bool) {
			why := "PPK"
			if byUs {
				why = "the peer refuses us"
			}
			start(t, ppkPlan("insist", "no", "beta")).refused(byUs, why)
		})
	})
}
