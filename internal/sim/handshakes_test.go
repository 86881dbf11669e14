package sim

import (
	"flag"
	"runtime"
	"sync"
	"testing"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
)

var handshakes = flag.Int("handshakes", 2000, "how many handshakes of NET-01 are made; the long run is 100000")

// handshakeKinds are the handshakes of NET-01: by a shared secret, by signatures
// in messages that need several fragments, and with ML-KEM-768 in an exchange of
// its own.
var handshakeKinds = []struct {
	name    string
	options string
}{
	{"secret", ""},
	{"keys, in fragments", "keys=yes fragment=256"},
	{"hybrid, in fragments", "ike=aes128gcm16-prfsha256-x25519-ke1_mlkem768 fragment=400"},
}

// shaken is what became of some handshakes.
type shaken struct {
	made, late, retransmits int
	slowest                 time.Duration
	sent, lost              int
}

// shake makes one handshake at 30 % loss each way.
func shake(seed uint64, options string, r *shaken) error {
	w := New(seed)
	w.Trace.Quiet = true
	w.Net.IKE = Faults{Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond, Loss: 0.3}
	s := &Script{world: w, engine: IKEv2}
	if err := s.Run([]string{"node west 192.0.2.1", "node east 198.51.100.2",
		"tunnel net west 10.1.0.0/16 east 10.2.0.0/16 tries=0 " + options, "west up net"}); err != nil {
		return err
	}
	up := w.RunUntil(time.Minute, w.tunnels[0].Secured)
	r.made++
	if !up {
		r.late++
	}
	r.slowest = max(r.slowest, w.Elapsed())
	r.retransmits = max(r.retransmits, w.Stats.Retransmits)
	r.sent, r.lost = r.sent+w.Stats.Sent, r.lost+w.Stats.Lost
	return nil
}

// At 30 % loss in each direction all handshakes but one in ten thousand are done
// within a minute, of every kind. No request is repeated more often than its plan
// has it: after 0.5, 1, 2 and then every 3 seconds, for a minute.
func TestAdv_NET_01_Handshakes(t *testing.T) {
	if testing.Short() {
		*handshakes = min(*handshakes, 200)
	}
	made, late := 0, 0
	for k, kind := range handshakeKinds {
		n := *handshakes / len(handshakeKinds)
		var mu sync.Mutex
		var all shaken
		var wait sync.WaitGroup
		workers := runtime.GOMAXPROCS(0)
		for worker := range workers {
			wait.Go(func() {
				var r shaken
				for i := worker; i < n; i += workers {
					if err := shake(uint64(k)<<32+uint64(i), kind.options, &r); err != nil {
						t.Error(err)
						return
					}
				}
				mu.Lock()
				defer mu.Unlock()
				all = shaken{all.made + r.made, all.late + r.late, max(all.retransmits, r.retransmits), max(all.slowest, r.slowest), all.sent + r.sent, all.lost + r.lost}
			})
		}
		wait.Wait()
		t.Logf("%s: %d handshakes, %d not done in a minute, the slowest %v, %d retransmissions in one at most, %d of %d datagrams lost",
			kind.name, all.made, all.late, all.slowest.Round(time.Millisecond), all.retransmits, all.lost, all.sent)
		made, late = made+all.made, late+all.late
		const plan = 4 + 60/3 // for each of two ends
		if all.retransmits > 2*plan {
			t.Errorf("%s: %d retransmissions in one minute", kind.name, all.retransmits)
		}
		if rate := float64(all.lost) / float64(all.sent); rate < 0.28 || rate > 0.32 {
			t.Errorf("%s: %.0f %% of all datagrams were lost", kind.name, rate*100)
		}
	}
	if made < *handshakes-len(handshakeKinds) || late > made/10_000 {
		t.Errorf("%d of %d handshakes are not done after a minute", late, made)
	}
}

// The wait before a request is sent again is what the plan says, give or take its
// tenth of chance.
func TestRetransmissionPlan(t *testing.T) {
	w, tunnel := pairOf(1, func(_ *Node, d *connection.Description) { d.KeyingTries = 1 })
	w.Net.Cut(tunnel.A.Addr, tunnel.B.Addr)
	tunnel.A.Up(tunnel.Name)
	w.Run(2 * time.Minute)
	var waits []time.Duration
	for _, r := range tunnel.A.Facts {
		if f, ok := r.Fact.(ike.Retransmit); ok {
			waits = append(waits, f.Wait)
		}
	}
	if len(waits) < 10 {
		t.Fatalf("%d retransmissions", len(waits))
	}
	for i, got := range waits[:len(waits)-1] { // the last is cut short by the end
		want := min(time.Second<<i, 3*time.Second)
		if got < want*8/10 || got > want*12/10 {
			t.Errorf("wait %d is %v, not about %v", i+1, got, want)
		}
	}
}
