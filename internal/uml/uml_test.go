package uml

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
)

func TestMain(m *testing.M) {
	Init()
	if len(os.Args) > 1 && os.Args[1] == serverRole {
		fmt.Println(serveTransfers(os.Args[2]))
		os.Exit(1)
	}
	labtest.Main(m)
}

// need skips or fails the test when the kernel is not there.
func need(t *testing.T) {
	t.Helper()
	_, err := Find()
	labtest.Need(t, err == nil, "the Debian package user-mode-linux")
}

// boot starts a guest with the modules of IPsec, behind a tap of its own.
func boot(t *testing.T, ctx context.Context, h *lab.Host) *Guest {
	t.Helper()
	g, err := Boot(ctx, Options{Host: h, Tap: "tap0", Addr: netip.MustParsePrefix("10.90.0.1/24"), Modules: strings.Fields(`
		xfrm_user esp4 ah4 ipcomp ipip tunnel4 xfrm4_tunnel esp6 ah6 ipcomp6 xfrm6_tunnel
		authenc authencesn echainiv seqiv cbc ecb hmac md5 sha1_generic sha256_generic sha512_generic des_generic aes_generic
		crypto_null jitterentropy_rng drbg deflate gcm ctr ghash-generic
		overlay`)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// do runs a script in the guest that must succeed.
func (g *Guest) do(t *testing.T, ctx context.Context, script string) string {
	t.Helper()
	r, err := g.Run(ctx, script)
	if err != nil {
		t.Fatal(err)
	}
	if r.Exit != 0 {
		t.Fatalf("exit code %d in the guest\n%s\n%s", r.Exit, script, r.Output())
	}
	return r.Stdout
}

func TestGuest(t *testing.T) {
	need(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	l := labtest.New(t, "ku")
	h, err := l.AddHost("west")
	if err != nil {
		t.Fatal(err)
	}
	g := boot(t, ctx, h)
	if out := g.do(t, ctx, "cat /proc/sys/kernel/ostype; id -u; ls /proc/self/fd | wc -l"); !strings.HasPrefix(out, "Linux\n0\n") {
		t.Errorf("output %q", out)
	}
	r, err := g.Run(ctx, "echo to stderr >&2; exit 7")
	if err != nil || r.Exit != 7 || r.Stderr != "to stderr\n" || r.Stdout != "" {
		t.Errorf("%+v, %v", r, err)
	}
	// What runs in the background holds nothing up.
	start := time.Now()
	g.do(t, ctx, "sleep 1000 &")
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("took %s", d)
	}
	// The host's files are safe.
	if r, err := g.Run(ctx, "touch /etc/cygnet-was-here"); err != nil || r.Exit == 0 {
		t.Errorf("writing to the host's file system: %+v, %v", r, err)
	}
	g.do(t, ctx, "ip addr add 10.90.0.2/24 dev vec0; ip link set vec0 up")
	res, err := h.Ping(ctx, lab.Echo{Dst: netip.MustParseAddr("10.90.0.2"), Count: 3})
	if err != nil || res.Received == 0 {
		t.Errorf("ping: %+v, %v", res, err)
	}
}
