package interop

import (
	"flag"
	"math/rand/v2"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"cygnet/internal/lab"
)

// killPoints is how often TestAdv_CRS_03_14_KillPoints kills the daemon; a night
// has room for 10,000:
//
//	go test ./internal/interop -run KillPoints -timeout 24h -killpoints 10000
var killPoints = flag.Int("killpoints", 40, "moments at which the daemon is killed")

// moments are what the daemon is doing when it is killed, and within which time
// after that began.
var moments = []struct {
	what  string
	up    bool // begins with a tunnel
	begin func(t *testing.T, p *process)
	span  time.Duration
}{
	{"start, handshake and install", false, func(*testing.T, *process) {}, 300 * time.Millisecond},
	{"rekeying", true, func(t *testing.T, p *process) { go p.gate.Ipsec(t.Context(), "whack", "--rekey", "--name", "net") }, 100 * time.Millisecond},
	{"reload", true, func(t *testing.T, p *process) { p.signal(t, syscall.SIGHUP) }, 50 * time.Millisecond},
}

// The daemon is killed, as a crash or the kernel short of memory would, at random
// moments, again and again, while sunset sends to sunrise at a steady pace: not
// one packet leaves in the clear, neither while it is dead nor while the next one
// takes over, and every next one brings the tunnel back. An orderly stop is not
// among the moments: it takes the block away on purpose. What shows inner addresses
// or the text of a ping is clear; the ICMP errors of a kernel that quotes the ESP
// for which nobody is there is not.
func TestAdv_CRS_03_14_KillPoints(t *testing.T) {
	west := ours(t)
	l := west.lab
	wire, err := l.Capture(l.Host("nic"), "west", []netip.Prefix{lab.WestNet, lab.EastNet}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	ping, err := l.Host("sunset").StartPing(lab.Echo{Dst: lab.Sunrise, Interval: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 14))
	killed := make([]int, len(moments))
	for n := range *killPoints {
		m := moments[n%len(moments)]
		if m.up && n > 0 {
			west.up(t)
		}
		m.begin(t, west)
		time.Sleep(time.Duration(random.Int64N(int64(m.span)))) // the moment is the point of the test
		west.signal(t, syscall.SIGKILL)
		west.ends(t, 10*time.Second)
		killed[n%len(moments)]++
		counts, err := wire.Counts()
		if err != nil {
			t.Fatal(err)
		}
		if counts.Frames[lab.Clear] != 0 {
			t.Fatalf("kill %d, at %s: %v", n, m.what, wire.Suspects())
		}
		west = foreground(t, west.gate)
	}
	west.up(t)
	r := ping.Stop()
	counts, err := wire.Counts()
	if err != nil {
		t.Fatal(err)
	}
	if counts.Frames[lab.Clear] != 0 || counts.Frames[lab.ESP]+counts.Frames[lab.ESPinUDP] == 0 || r.Received == 0 {
		t.Errorf("%v, %d of %d answered: %v", counts, r.Received, r.Sent, wire.Suspects())
	}
	var list []string
	for i, m := range moments {
		list = append(list, m.what+" "+strings.Repeat("|", min(killed[i], 50)))
	}
	t.Logf("killed %d times (%s); %d of %d pings answered, %d frames of IPsec on the wire, none in the clear",
		*killPoints, strings.Join(list, ", "), r.Received, r.Sent, counts.Frames[lab.ESP]+counts.Frames[lab.ESPinUDP])
}
