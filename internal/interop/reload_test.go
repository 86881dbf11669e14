package interop

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
	"cygnet/internal/whack"
)

// A daemon is killed at any moment of a reload and started again: eroutes and
// routes are those of the file, with nothing of the file before, whatever was done
// of it by then.
func TestAdv_CFG_07_KilledInAReload(t *testing.T) {
	l := labtest.New(t, "reload")
	if err := lab.BuildManual(l, nil); err != nil {
		t.Fatal(err)
	}
	west, err := lab.NewGateway(l.Host("west"), labtest.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	const conns = 20
	write := func(generation int) (nets []string) {
		var b strings.Builder
		b.WriteString("version 2.0\nconfig setup\n\tinterfaces=%defaultroute\n")
		for i := range conns {
			net := fmt.Sprintf("10.%d.%d.0/24", generation, i)
			nets = append(nets, net)
			fmt.Fprintf(&b, "conn g%d-%d\n\tleft=101.101.101.101\n\tleftsubnet=192.168.100.0/24\n\tright=202.202.202.202\n\trightsubnet=%s\n\tauthby=secret\n\tauto=route\n", generation, i, net)
		}
		for file, text := range map[string]string{"ipsec.conf": b.String(), "ipsec.secrets": "101.101.101.101 202.202.202.202 : PSK \"" + psk + "\"\n"} {
			if err := west.Write(file, text); err != nil {
				t.Fatal(err)
			}
		}
		return nets
	}
	ipsec := func(args ...string) string {
		t.Helper()
		r, err := west.Ipsec(t.Context(), args...)
		if err != nil || r.Exit != 0 {
			t.Fatalf("ipsec %v: %v\n%s", args, err, r.Output())
		}
		return r.Output()
	}
	net := regexp.MustCompile(`\b10\.\d+\.\d+\.0/24`)
	found := func(text string) []string {
		list := net.FindAllString(text, -1)
		slices.Sort(list)
		return slices.Compact(list)
	}
	write(1)
	ipsec("setup", "start")
	for round := range 12 {
		want := write(round + 2)
		slices.Sort(want)
		if err := syscall.Kill(west.PlutoPid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(round) * 3 * time.Millisecond) // a moment of its own each
		if err := west.KillPluto(); err != nil {
			t.Fatal(err)
		}
		ipsec("setup", "start")
		if got := found(ipsec("eroute")); !slices.Equal(got, want) {
			t.Errorf("round %d: eroutes %v, want %v", round, got, want)
		}
		if got := found(strings.Join(routesOf(t, ipsec("look", "--json")), "\n")); !slices.Equal(got, want) {
			t.Errorf("round %d: routes %v, want %v", round, got, want)
		}
	}
	ipsec("setup", "stop")
}

// routesOf lists the routes in the answer of `ipsec look --json`.
func routesOf(t *testing.T, text string) []string {
	t.Helper()
	var look whack.Look
	if err := json.Unmarshal([]byte(text), &look); err != nil {
		t.Fatal(err)
	}
	return look.Routes
}
