package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What a gateway may be in the middle of when it is killed.
var crashScenes = []struct{ name, options, before, do string }{
	{"handshake", "", "", "west up net"},
	{"hybrid handshake", "ike=aes128gcm16-prfsha256-x25519-ke1_mlkem768 fragment=400", "", "west up net"},
	{"password", "eap=west", "", "west up net"},
	{"childless", "childless=force", "", "west up net"},
	{"rekeying of the Child SA", "", "west up net", "west rekey net"},
	{"rekeying of the IKE SA", "", "west up net", "west rekey-ike net"},
	{"rekeying of both by both", "", "west up net", "west rekey-ike net\neast rekey net\neast rekey-ike net\nwest rekey net"},
	{"reauthentication", "ikelife=4m margin=2m fuzz=0 reauth=yes", "west up net", "run 3m"},
	{"move", "mobike=yes", "west up net", "west move 192.0.2.77"},
	{"delete", "", "west up net", "west drop net"},
	{"down", "", "west up net", "west down net"},
	{"crash of the other", "", "west up net", "east crash\nrun 1s\neast start"},
	{"flush", "", "west up net", "west flush\nrun 30s"},
	{"acquire", "", "west route net", "west ping net"},
}

// crashPoints is after how many actions of machines an end is killed, at most; the
// longest scene has fewer.
const crashPoints = 60

// A gateway that is killed after any action of any exchange, and is started again,
// has its tunnel again; meanwhile nothing passes in the clear, no key or number is
// used twice, and nothing is left over. It is CRS-03 in virtual time, for each end.
func TestCrashAtEveryAction(t *testing.T) {
	points := 0
	for _, c := range crashScenes {
		for _, victim := range []string{"west", "east"} {
			for k := 1; k <= crashPoints; k++ {
				w, crashed, err := crashAt(c.options, c.before, c.do, victim, k)
				if err != nil {
					t.Fatal(err)
				}
				if !crashed {
					if k == crashPoints {
						t.Errorf("%s: no more than %d points are tried", c.name, k)
					}
					break
				}
				points++
				if len(w.Breaches) > 0 {
					t.Errorf("%s, %s is killed after action %d: %v\n%s", c.name, victim, k, w.Breaches[0], tail(w.Trace.String(), 60))
					break
				}
			}
		}
	}
	if t.Logf("%d crashes", points); points < 150 {
		t.Errorf("only %d points", points)
	}
}

// crashAt plays a scene in which the victim is killed after its k-th action.
func crashAt(options, before, do, victim string, k int) (w *World, crashed bool, err error) {
	head := fmt.Sprintf(`node west 192.0.2.1
node east 198.51.100.2
link delay=10ms
data delay=10ms
tunnel net west 10.1.0.0/24 east 10.2.0.0/24 tries=0 dpd=20s dpdaction=restart retransmit=30s %s
stream net west 500ms
stream net east 500ms
%s
run 1s`, options, before)
	s := &Script{world: New(1), engine: IKEv2, checks: true}
	if err := s.Run(strings.Split(head, "\n")); err != nil {
		return nil, false, err
	}
	w = s.world
	n := w.Node(victim)
	n.fuse = k
	if err := s.Run(strings.Split(do+"\nrun 3s", "\n")); err != nil {
		return w, false, err
	}
	crashed = n.Down || w.Stats.Crashes > strings.Count(do, "crash")
	n.fuse = 0
	end := "run 5s\nwest move 192.0.2.1\nwest start\neast start\nwest up net\nrun 5m\nstop\nquiet net"
	return w, crashed, s.Run(strings.Split(end, "\n"))
}

func tail(text string, lines int) string {
	list := strings.Split(text, "\n")
	return strings.Join(list[max(0, len(list)-lines):], "\n")
}

// The hook that the test above hangs on: the victim does no action more.
func TestFuse(t *testing.T) {
	w, tunnel := pairOf(1)
	tunnel.A.fuse = 2
	tunnel.A.Up(tunnel.Name)
	w.Run(time.Minute)
	if !tunnel.A.Down || tunnel.Secured() || w.Stats.Crashes != 1 {
		t.Errorf("west is not down: %+v", w.Stats)
	}
}
