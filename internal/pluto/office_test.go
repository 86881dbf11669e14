package pluto

import (
	"strings"
	"testing"
	"time"

	"cygnet/internal/whack"
)

// R12.18: the manual's example office, in Reno, with tunnels to Vancouver,
// Amsterdam and New York City. The file is of FreeS/WAN 1.x: it has no version,
// names in two lists what to load and to start, and leaves the rest to the
// defaults of its time.
func TestOffice(t *testing.T) {
	const file = `# basic configuration
config setup
	# virtual and physical interfaces
	interfaces="ipsec0=eth0"
	# debug-logging controls: "none" for (almost) none, "all" for lots
	klipsdebug=none
	plutodebug=none
	# connections to load and to start at startup
	plutoload="reno-van reno-adam reno-nyc"
	plutostart="reno-van reno-adam reno-nyc"

conn %default
	left=192.0.2.1
	leftid=@west
	leftsubnet=10.1.0.0/24
	rightid=@east

conn reno-van
	right=198.51.100.1
	rightsubnet=10.2.0.0/24

conn reno-adam
	right=198.51.100.1
	rightsubnet=10.3.0.0/24

conn reno-nyc
	right=198.51.100.1
	rightsubnet=10.4.0.0/24

conn not-listed
	right=198.51.100.1
	rightsubnet=10.5.0.0/24
	auto=start
`
	inBubble(t, func(t *testing.T, p *pair) {
		peer := setup
		for _, n := range []string{"2", "3", "4", "5"} {
			peer += tunnel("from-reno-"+n, "auto=add", "rightsubnet=10."+n+".0.0/24")
		}
		p.east.start(peer)
		p.west.start(file)
		until(t, "three tunnels", 2*time.Minute, func() bool { return p.west.states("IPsec SA established") == 3 })
		time.Sleep(time.Minute)
		status := strings.Join(p.west.must(whack.OpStatus, ""), "\n")
		for _, name := range []string{"reno-van", "reno-adam", "reno-nyc"} {
			if !strings.Contains(status, `"`+name+`"`) {
				t.Errorf("%s is not loaded\n%s", name, status)
			}
		}
		if strings.Contains(status, "not-listed") || p.west.states("IPsec SA established") != 3 {
			t.Errorf("more than the lists name\n%s", status)
		}
	})
}
