package interop

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"cygnet/internal/lab"
)

// Somebody deletes ipsec0 under the daemon, and brings it down, again and again, while
// sunset sends to sunrise: the daemon makes the device and its routes again, the tunnel
// goes on with the same SAs, and nothing leaves in the clear meanwhile.
func TestAdv_CRS_15_DeviceDeleted(t *testing.T) {
	west := ours(t)
	l := west.lab
	gate := l.Host("west")
	wire, err := l.Capture(l.Host("nic"), "west", []netip.Prefix{lab.WestNet, lab.EastNet}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	ping, err := l.Host("sunset").StartPing(lab.Echo{Dst: lab.Sunrise, Interval: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer ping.Stop()
	ip := func(args ...string) {
		t.Helper()
		if r, err := gate.Run(t.Context(), nil, "ip", args...); err != nil || r.Exit != 0 {
			t.Fatalf("ip %v: %v %+v", args, err, r)
		}
	}
	for _, harm := range []struct {
		name string
		do   func()
	}{
		{"deleted", func() { ip("link", "del", "ipsec0") }},
		{"down", func() { ip("link", "set", "ipsec0", "down") }},
		{"down and up", func() { ip("link", "set", "ipsec0", "down"); ip("link", "set", "ipsec0", "up") }},
		{"deleted again", func() { ip("link", "del", "ipsec0") }},
	} {
		harm.do()
		back := lab.WaitFor(15*time.Second, func() bool {
			dev, err := gate.RouteDevice(lab.EastNet)
			return err == nil && dev == "ipsec0"
		})
		if !back {
			t.Fatalf("%s: no route into ipsec0\n%s", harm.name, west.said(t))
		}
		r, err := l.Host("sunset").Ping(t.Context(), lab.Echo{Dst: lab.Sunrise, Count: 3})
		if err != nil || r.Received != 3 {
			t.Errorf("%s: %d of %d answered, %v\n%s", harm.name, r.Received, r.Sent, err, west.said(t))
		}
		counts, err := wire.Counts()
		if err != nil {
			t.Fatal(err)
		}
		if counts.Frames[lab.Clear] != 0 {
			t.Fatalf("%s: in the clear: %v", harm.name, wire.Suspects())
		}
	}
	said := west.said(t)
	if n := strings.Count(said, "somebody has deleted ipsec0"); n != 2 {
		t.Errorf("told %d times of a deleted device\n%s", n, said)
	}
	if n := strings.Count(said, "IPsec SA established"); n != 1 {
		t.Errorf("%d SAs were negotiated, 1 was enough\n%s", n, said)
	}
}
