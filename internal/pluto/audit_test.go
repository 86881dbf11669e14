package pluto

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/whack"
)

// Whose data plane is emptied behind the daemon's back has its tunnels again after
// the next look, with both versions of IKE; where nothing is rekeyed, the pair is
// deleted and made anew. No key is used again: all SPIs are new ones (ESP-17).
func TestAdv_ESP_17_FlushedSAs(t *testing.T) {
	for _, more := range [][]string{nil, {"compress=yes"}, {"keyexchange=ikev1"}, {"rekey=no"}, {"keyexchange=ikev1", "rekey=no"}} {
		t.Run(strings.Join(append(more, "flushed"), ","), func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pair) {
				p.east.start(setup + tunnel("net", append(more, "auto=add")...))
				p.west.start(setup + tunnel("net", append(more, "auto=start")...))
				time.Sleep(time.Second)
				before := p.west.plane.SAs()
				if len(before) == 0 {
					t.Fatalf("the tunnel is not up\n%s", p.west.log)
				}
				for _, s := range before {
					if err := p.west.plane.DeleteSA(context.Background(), s.ID); err != nil {
						t.Fatal(err)
					}
				}
				if p.west.send(sunset, sunrise, "into the void"); len(p.east.got()) != 0 {
					t.Fatal("what has no SA left all the same")
				}
				time.Sleep(connection.AuditEvery)
				if slices.Contains(more, "rekey=no") {
					p.west.must(whack.OpUp, "net")
				}
				time.Sleep(time.Second)
				p.west.send(sunset, sunrise, "again")
				if got := p.east.got(); !slices.Equal(got, []string{"again"}) {
					t.Errorf("east got %q\n%s", got, p.west.log)
				}
				for _, s := range p.west.plane.SAs() {
					for _, old := range before {
						if s.ID == old.ID {
							t.Errorf("%s is there again", s.ID)
						}
					}
				}
			})
		})
	}
}
