package lab_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
)

// swanctl is a site-to-site connection with a shared secret.
func swanctl(local, remote, localNet, remoteNet string) string {
	return fmt.Sprintf(`connections {
	net {
		version = 2
		local_addrs = %s
		remote_addrs = %s
		proposals = aes128gcm16-prfsha256-x25519
		local { auth = psk
			id = %[1]s }
		remote { auth = psk
			id = %[2]s }
		children { net {
			local_ts = %s
			remote_ts = %s
			esp_proposals = aes128gcm16
		} }
	}
}
secrets { ike-1 { secret = "two charons" } }
`, local, remote, localNet, remoteNet)
}

// Two strongSwan gateways in the manual's network: what the lab says of them
// is what it will say of our gateways.
func TestCharonPair(t *testing.T) {
	labtest.Need(t, lab.HaveCharon(), "strongSwan with kernel-libipsec")
	l := manual(t)
	wire, err := l.Capture(l.Host("nic"), "west", inside, "")
	if err != nil {
		t.Fatal(err)
	}
	west, err := l.StartCharon(t.Context(), l.Host("west"), lab.CharonConfig{
		Swanctl: swanctl("101.101.101.101", "202.202.202.202", "192.168.100.0/24", "192.168.200.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	east, err := l.StartCharon(t.Context(), l.Host("east"), lab.CharonConfig{
		Swanctl: swanctl("202.202.202.202", "101.101.101.101", "192.168.200.0/24", "192.168.100.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := west.Swanctl(t.Context(), "--initiate", "--child", "net"); err != nil {
		t.Fatalf("%v\nwest:\n%s\neast:\n%s", err, west.Log(), east.Log())
	}
	if r := ping(t, l.Host("sunset"), lab.Echo{Dst: lab.Sunrise, Count: 10, Interval: 10 * time.Millisecond}); r.Received != 10 {
		t.Errorf("ping through the tunnel: %+v", r)
	}
	if _, err := l.Host("sunset").Send(t.Context(), l.Host("sunrise"), lab.Sunrise, 1<<20, nil); err != nil {
		t.Error(err)
	}
	if sas, err := east.Swanctl(t.Context(), "--list-sas"); err != nil || !strings.Contains(sas, "ESTABLISHED") {
		t.Errorf("east lists: %s, %v", sas, err)
	}
	c, err := wire.Counts()
	if err != nil {
		t.Fatal(err)
	}
	if c.Frames[lab.ESPinUDP] < 20 || c.Frames[lab.IKE] < 4 || c.Foreign() != 0 || c.Lost != 0 {
		t.Errorf("wire: %+v, %v", c, wire.Suspects())
	}
}
