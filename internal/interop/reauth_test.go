package interop

import (
	"strings"
	"testing"
	"time"

	"cygnet/internal/lab"
)

// Reauthentication under traffic, begun by whoever began: no packet is lost, and
// one IKE SA is left.
func TestReauth(t *testing.T) {
	sides(t, func(t *testing.T, byUs bool) {
		p := plan{conn: "reauth=yes ikelifetime=14s rekeymargin=6s rekeyfuzz=0% keylife=1h"}
		if !byUs {
			p = plan{charon: "reauth_time = 8s\nover_time = 30s\nrand_time = 0s", options: []string{"make_before_break = yes"}}
		}
		r := start(t, p)
		r.initiate(byUs)
		res, err := r.lab.Host("sunset").Ping(t.Context(), lab.Echo{Dst: lab.Sunrise, Count: 240, Interval: 50 * time.Millisecond})
		r.must(err)
		if res.Received != res.Sent {
			t.Errorf("ping: %d of %d answered", res.Received, res.Sent)
		}
		r.within(5*time.Second, "one IKE SA with one Child SA", func() bool {
			i, c := r.charonSAs()
			return i == 1 && c == 1
		})
		if log := r.log(); byUs && !strings.Contains(log, "reauthenticating: a new IKE SA takes the place of #1") {
			t.Errorf("no reauthentication:\n%s", log)
		}
		if out := r.swanctl("--list-sas"); strings.Contains(out, "net: #1,") {
			t.Errorf("the first IKE SA is still there:\n%s", out)
		}
		r.traffic()
	})
}

// An IKE SA without a Child SA at first, both ways.
func TestChildless(t *testing.T) {
	sides(t, func(t *testing.T, byUs bool) {
		p := plan{conn: "childless=force pfs=no"}
		if !byUs {
			p = plan{conn: "pfs=no", charon: "childless = force"}
		}
		r := start(t, p)
		r.initiate(byUs)
		r.traffic()
	})
}
