package resolve

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cygnet/internal/dnslab"
	"cygnet/internal/dnslab/labzones"
	"cygnet/internal/lab/labtest"
	"cygnet/internal/oe"
)

// unbound runs Debian's validating resolver in front of the laboratory.
func unbound(t *testing.T, lab *dnslab.Server, at netip.AddrPort) netip.AddrPort {
	t.Helper()
	path, err := exec.LookPath("unbound")
	labtest.Need(t, err == nil, "unbound")
	for range 4 { // somebody may take the port before unbound does
		if self, ok := tryUnbound(t, path, lab, at); ok {
			return self
		}
	}
	t.Fatal("unbound does not answer, or does not validate")
	return at
}

// tryUnbound starts unbound on a port that is free just now, and reports whether it
// validates within some seconds.
func tryUnbound(t *testing.T, path string, lab *dnslab.Server, at netip.AddrPort) (self netip.AddrPort, ok bool) {
	t.Helper()
	dir := t.TempDir()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	self = netip.MustParseAddrPort(pc.LocalAddr().String())
	_ = pc.Close()
	if err := os.WriteFile(filepath.Join(dir, "root.anchor"), []byte(lab.Anchor()), 0o644); err != nil {
		t.Fatal(err)
	}
	// Unbound answers for private and documentation zones itself, unless told
	// otherwise.
	var nodefault strings.Builder
	for _, z := range labzones.Zones() {
		fmt.Fprintf(&nodefault, "\tlocal-zone: %q nodefault\n", z.Name)
	}
	conf := fmt.Sprintf(`server:
	interface: 127.0.0.1@%d
	directory: %q
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	logfile: %q
	do-not-query-localhost: no
	do-ip6: no
	ede: yes
	trust-anchor-file: root.anchor
%sforward-zone:
	name: "."
	forward-addr: 127.0.0.1@%d
remote-control:
	control-enable: no
`, self.Port(), dir, filepath.Join(dir, "log"), nodefault.String(), at.Port())
	file := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-d", "-c", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if log, err := os.ReadFile(filepath.Join(dir, "log")); t.Failed() && err == nil {
			t.Logf("%s", log)
		}
	})
	r := open(t, Options{Servers: []netip.AddrPort{self}})
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	for ctx.Err() == nil { // until it is up
		if v := r.stub.probe(ctx); v.Validates {
			return self, true
		}
	}
	return self, false
}

// Unbound's verdict on all 55 names of the laboratory is ours.
func TestValidatorAgreesWithUnbound(t *testing.T) {
	lab, at := serve(t, dnslab.Options{})
	theirs := open(t, Options{Servers: []netip.AddrPort{unbound(t, lab, at)}})
	own := open(t, Options{Servers: []netip.AddrPort{at}, Method: BySelf, Anchors: anchors(t, lab)})
	agreed := 0
	for _, q := range labzones.Questions() {
		a, b := lookup(t, own, q.Name, q.Type), lookup(t, theirs, q.Name, q.Type)
		// Of what cannot be used, unbound does not always say why.
		if verdict(a) != verdict(b) && (a.Security >= oe.Insecure || b.Security >= oe.Insecure) {
			t.Errorf("%s %s: ours %s (%s), unbound's %s (%s)", q.Name, oe.TypeName(q.Type), verdict(a), a.Why, verdict(b), b.Why)
			continue
		}
		agreed++
	}
	t.Logf("%d of %d agree", agreed, len(labzones.Questions()))
}
