package pluto

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/whack"
)

// script writes an executable that appends the verb it is called with to a
// file, and then does more.
func script(t *testing.T, more string) (path string, verbs func() []string) {
	t.Helper()
	dir := t.TempDir()
	path, log := filepath.Join(dir, "updown"), filepath.Join(dir, "verbs")
	text := "#!/bin/sh\necho $PLUTO_VERB $PLUTO_PEER_CLIENT $PLUTO_INTERFACE $LAB >>" + log + "\n" + more + "\n"
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path, func() []string {
		b, _ := os.ReadFile(log)
		return strings.Split(strings.TrimSpace(string(b)), "\n")
	}
}

// The order of freeswan.md 6.13, the environment, and that output is logged.
func TestUpdownCommand(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		path, verbs := script(t, "echo said on $PLUTO_VERB")
		p.west.scriptEnv = []string{"LAB=here"}
		p.west.start(setup + tunnel("net", "auto=add", "leftupdown="+path))
		p.east.start(setup + tunnel("net", "auto=add"))
		p.west.must(whack.OpUp, "net")
		until(t, "route", time.Minute, func() bool { return len(verbs()) == 3 })
		p.west.must(whack.OpDown, "net")
		p.west.must(whack.OpUnroute, "net")
		p.west.stop()
		var want []string
		for _, v := range []string{"up", "prepare", "route", "down", "unroute"} {
			want = append(want, v+"-client 10.2.0.0/24 ipsec0 here")
		}
		if got := verbs(); !slices.Equal(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
		if !strings.Contains(p.west.log.String(), `"net": up-client output: said on up-client`) {
			t.Errorf("the output is not in the log:\n%s", p.west.log)
		}
	})
}

// A failing up takes the connection down again; what runs at the end of the
// daemon is waited for.
func TestUpdownFails(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		path, _ := script(t, "[ $PLUTO_VERB != up-client ]")
		p.west.start(setup + tunnel("net", "auto=add", "leftupdown="+path))
		p.east.start(setup + tunnel("net", "auto=add"))
		p.west.must(whack.OpUp, "net")
		until(t, "failure", time.Minute, func() bool {
			return strings.Contains(p.west.log.String(), `"net": up-client command exited with status 1`) && p.west.states("IPsec SA established") == 0
		})
		path, verbs := script(t, "")
		p.west.write(setup + tunnel("net", "auto=add", "leftupdown="+path))
		p.west.must(whack.OpReplace, "net")
		p.west.must(whack.OpUp, "net")
		p.west.stop()
		// It has been routed all the time.
		if got := verbs(); len(got) != 3 || !strings.HasPrefix(got[2], "unroute-client") {
			t.Errorf("verbs until the end: %q", got)
		}
	})
}
