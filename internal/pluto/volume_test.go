package pluto

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/whack"
)

// lifebytes= and lifepackets= bound what a pair carries: it is replaced before
// the limit, with both versions, and with IPComp in the bundle. No packet is
// lost over it.
func TestVolume(t *testing.T) {
	for _, limit := range []string{"lifepackets=80", "ipsec-max-packets=80", "lifebytes=2000", "ipsec-max-bytes=2000"} {
		for _, more := range [][]string{nil, {"keyexchange=ikev1"}, {"compress=yes"}, {"keyexchange=ikev1", "compress=yes"}} {
			t.Run(strings.Join(append(more, limit), ","), func(t *testing.T) {
				inBubble(t, func(t *testing.T, p *pair) {
					p.east.start(setup + tunnel("net", append(more, "auto=add")...))
					p.west.start(setup + tunnel("net", append(more, "auto=add", limit)...))
					p.west.must(whack.OpUp, "net")
					before := p.west.must(whack.OpSAs, "")
					for i := range 200 {
						text := fmt.Sprint("packet ", i)
						p.west.send(sunset, sunrise, text)
						if got := p.east.got(); !slices.Equal(got, []string{text}) {
							t.Fatalf("%s: east got %q\n%s", text, got, p.west.log)
						}
						time.Sleep(100 * time.Millisecond)
					}
					if n := strings.Count(p.west.log.String(), "IPsec SA established"); n < 3 {
						t.Errorf("%d pairs for 200 packets\n%s", n, p.west.log)
					}
					if strings.Contains(p.west.log.String(), "IPsec SA expired") {
						t.Errorf("a pair reached its end\n%s", p.west.log)
					}
					time.Sleep(5 * time.Minute) // the replaced ones go
					if after := p.west.must(whack.OpSAs, ""); len(after) < len(before) || len(after) > most(more)*len(before) {
						t.Errorf("SAs at first\n%s\nand in the end\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
					}
				})
			})
		}
	}
}

// most is how many pairs may stand in the end. Both ends may replace a pair at
// one instant, and IKEv1 has no rule for which of the two new ones goes: the
// idle one stays as long as its time allows.
func most(conn []string) int {
	if slices.Contains(conn, "keyexchange=ikev1") {
		return 3
	}
	return 1
}
