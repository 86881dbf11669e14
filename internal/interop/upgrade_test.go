package interop

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cygnet/internal/lab"
)

const upgradePace = 5 * time.Millisecond // between two pings

// Another binary is put in place and the daemon restarted by it, under 200 pings a
// second and with no word from either administrator: traffic is back by itself, and
// nothing leaves in the clear between the daemon that goes and the one that comes. The
// gap, counted in pings that were lost one after the other, is printed: 0.2 s on a
// quiet machine, where a second is allowed.
func TestAdv_CRS_12_UpgradeInPlace(t *testing.T) {
	west := ours(t)
	wire, err := west.lab.Capture(west.lab.Host("nic"), "west", []netip.Prefix{lab.WestNet, lab.EastNet}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	ping, err := west.lab.Host("sunset").StartPing(lab.Echo{Dst: lab.Sunrise, Interval: upgradePace})
	if err != nil {
		t.Fatal(err)
	}
	old := west.pid
	west.gate.Binary = copyOf(t, west.gate.Binary)
	if r, err := west.gate.Ipsec(t.Context(), "setup", "restart"); err != nil || r.Exit != 0 {
		t.Fatalf("restart: %v %+v", err, r)
	}
	t.Cleanup(func() { west.gate.KillPluto() })
	west.up(t)
	lab.WaitFor(5*time.Second, func() bool {
		c, err := wire.Counts()
		return err == nil && c.Frames[lab.ESP]+c.Frames[lab.ESPinUDP] > 200
	})
	r := ping.Stop()
	counts, err := wire.Counts()
	if err != nil {
		t.Fatal(err)
	}
	if counts.Frames[lab.Clear] != 0 {
		t.Errorf("in the clear: %v", wire.Suspects())
	}
	gap := time.Duration(r.LongestGap) * upgradePace
	if pid := west.gate.PlutoPid(); pid == 0 || pid == old || r.LongestGap == 0 || r.Received == 0 {
		t.Errorf("process %d after %d, %d of %d answered, a gap of %v", pid, old, r.Received, r.Sent, gap)
	}
	t.Logf("%d of %d pings answered, a gap of %v", r.Received, r.Sent, gap)
}

// copyOf is the same program in another file, as a new version would be.
func copyOf(t *testing.T, binary string) string {
	t.Helper()
	from, err := os.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	name := filepath.Join(t.TempDir(), "ipsec")
	to, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}
