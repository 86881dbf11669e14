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

// libreswanRig is our gateway in a namespace, libreswan in a guest, and what
// watches the wire between them.
type libreswanRig struct {
	t       *testing.T
	ctx     context.Context
	host    *lab.Host
	west    *lab.Gateway
	east    *libreswan
	capture *lab.Capture
}

func newLibreswanRig(t *testing.T) *libreswanRig {
	t.Helper()
	needLibreswan(t)
	// What a failed test shows is asked for when t.Context is over.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	l := labtest.New(t, "kl")
	h, err := l.AddHost("west")
	if err != nil {
		t.Fatal(err)
	}
	r := &libreswanRig{t: t, ctx: ctx, host: h}
	g := boot(t, ctx, h)
	r.east = newLibreswan(t, ctx, g)
	r.must(h.AddAddr("lo", netip.PrefixFrom(ip4.inner[0], ip4.bits)))
	r.west, err = lab.NewGateway(h, labtest.Binary(t))
	r.must(err)
	r.capture, err = l.Capture(h, "tap0", []netip.Prefix{ip4.net(0), ip4.net(1)}, "")
	r.must(err)
	return r
}

func (r *libreswanRig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// begin starts our daemon with files of its directory.
func (r *libreswanRig) begin(files map[string]string) {
	r.t.Helper()
	for name, text := range files {
		r.must(r.west.Write(name, text))
	}
	os.Remove(r.west.Log())
	r.ipsec("setup", "start")
	t := r.t
	t.Cleanup(func() { // not by r.ctx, which may be over then
		if t.Failed() {
			ours, _ := os.ReadFile(r.west.Log())
			t.Logf("libreswan: %s\nours: %s", r.east.log(), ours)
		}
		if _, err := r.west.Ipsec(context.Background(), "setup", "stop"); err != nil {
			t.Error(err)
		}
	})
}

func (r *libreswanRig) ipsec(args ...string) string {
	r.t.Helper()
	res, err := r.west.Ipsec(r.ctx, args...)
	r.must(err)
	if res.Exit != 0 {
		r.t.Fatalf("ipsec %s: exit %d\n%s", strings.Join(args, " "), res.Exit, res.Output())
	}
	return res.Output()
}

// on runs a part of the test in its own subtest.
func (r *libreswanRig) on(name string, f func()) {
	r.t.Run(name, func(t *testing.T) {
		defer func(rt, et *testing.T) { r.t, r.east.t = rt, et }(r.t, r.east.t)
		r.t, r.east.t = t, t
		f()
	})
}

// await polls until f holds.
func (r *libreswanRig) await(what string, f func() bool) {
	r.t.Helper()
	if !lab.WaitFor(20*time.Second, f) {
		r.t.Fatalf("waited in vain for %s", what)
	}
}

// encrypted runs traffic and checks that some of it crossed the wire protected and
// none in the clear.
func (r *libreswanRig) encrypted(what string, traffic func() (received int), want int) {
	r.t.Helper()
	before, err := r.capture.Counts()
	r.must(err)
	received := traffic()
	after, err := r.capture.Counts()
	r.must(err)
	d := after.Sub(before)
	// Of each echo one packet goes either way.
	if received < want || d.Protected() < uint64(2*received) || d.Frames[lab.Clear] != 0 || d.Lost != 0 {
		r.t.Errorf("%s: %d answers, at least %d expected; on the wire %d protected packets, %d in the clear: %v",
			what, received, want, d.Protected(), d.Frames[lab.Clear], r.capture.Suspects())
	}
}

// ours pings from our side.
func (r *libreswanRig) ours(src, dst netip.Addr) func() int {
	return func() int {
		res, err := r.host.Ping(r.ctx, lab.Echo{Src: src, Dst: dst, Count: 5, Interval: 100 * time.Millisecond, Wait: 5 * time.Second})
		r.must(err)
		return res.Received
	}
}

// theirs pings from libreswan's.
func (r *libreswanRig) theirs(src, dst netip.Addr) func() int {
	return func() int { return r.east.ping(src.String(), dst.String(), 5) }
}

// TestLibreswan: tunnels with libreswan on Linux's XFRM, by a shared secret and by
// RSA keys without certificates, begun by either side.
func TestLibreswan(t *testing.T) {
	r := newLibreswanRig(t)
	const name, secrets = "net", `%s %s : PSK "` + secret + "\"\n"
	r.must(r.west.Write("ipsec.conf", "version 2.0\n"))
	r.ipsec("newhostkey", "--quiet")
	_, public, _ := strings.Cut(r.ipsec("showhostkey", "--left"), "leftrsasigkey=")
	key, err := os.ReadFile(r.west.Confs() + "/ipsec.secrets")
	r.must(err)
	nets := fmt.Sprintf("left=%s\n\tleftsubnet=%s\n\tright=%s\n\trightsubnet=%s\n\tauto=add\n", ip4.outer[0], ip4.net(0), ip4.outer[1], ip4.net(1))
	psk := "conn psk\n\tauthby=secret\n\t" + nets
	rsa := fmt.Sprintf("conn rsa\n\tauthby=rsasig\n\tleftrsasigkey=%s\n\trightrsasigkey=%s\n\t%s", strings.TrimSpace(public), r.east.key.public, nets)
	r.begin(map[string]string{
		"ipsec.conf":    fmt.Sprintf("version 2.0\n\nconfig setup\n\tinterfaces=ipsec0=tap0\n\tlogfile=%s\n\n%s\n%s", r.west.Log(), psk, rsa),
		"ipsec.secrets": string(key) + fmt.Sprintf(secrets, ip4.outer[0], ip4.outer[1]),
	})
	theirs := map[string]string{"psk": psk + "\tikev2=insist\n", "rsa": rsa + "\tikev2=insist\n\trightckaid=" + r.east.key.ckaid + "\n"}
	for _, conn := range []string{"psk", "rsa"} {
		// One after the other: two conns for the same nets stand in each other's way
		// there ("cannot install eroute -- it is in use for").
		r.east.start(map[string]string{
			"ipsec.conf":    "config setup\n\n" + theirs[conn],
			"ipsec.secrets": fmt.Sprintf(secrets, ip4.outer[0], ip4.outer[1]),
		})
		r.east.await("loading secrets")
		for _, byUs := range []bool{true, false} {
			r.on(fmt.Sprintf("%s/byUs=%v", conn, byUs), func() {
				up, down := func() { r.ipsec("auto", "--up", conn) }, func() { r.ipsec("auto", "--down", conn) }
				if !byUs { // who wants a tunnel has to end it, or it comes again
					up, down = func() { r.east.whack("--initiate --name " + conn) }, func() { r.east.whack("--terminate --name " + conn) }
				}
				up()
				r.encrypted("from us", r.ours(ip4.inner[0], ip4.inner[1]), 5)
				r.encrypted("from libreswan", r.theirs(ip4.inner[1], ip4.inner[0]), 5)
				down()
				r.await("both to hear of the end", func() bool {
					return r.east.whack("--trafficstatus") == "" && !strings.Contains(r.ipsec("auto", "--status"), "IPsec SA established")
				})
			})
		}
	}
}
