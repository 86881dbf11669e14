package uml

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
)

// libreswanRoot is where scripts/setup-libreswan.sh unpacks Debian's package,
// which cannot be installed beside strongSwan.
func libreswanRoot() string {
	lab := os.Getenv("CYGNET_LAB")
	if lab == "" {
		lab = "/opt/cygnet-lab"
	}
	return filepath.Join(lab, "libreswan")
}

// libreswan is its pluto in a guest, with the guest's own XFRM.
type libreswan struct {
	t     *testing.T
	ctx   context.Context
	guest *Guest
	root  string
	key   libreswanKey
}

// libreswanKey is the RSA key in its NSS database.
type libreswanKey struct {
	ckaid  string // how a conn names it
	public string // as leftrsasigkey= takes it
	record string // IPSECKEY, all behind the owner's name
}

const libreswanLog = "/run/libreswan.log"

// needLibreswan skips or fails the test where it cannot be run.
func needLibreswan(t *testing.T) {
	t.Helper()
	_, err := os.Stat(filepath.Join(libreswanRoot(), ".done"))
	labtest.Need(t, err == nil, "libreswan (scripts/setup-libreswan.sh)")
	_, err = exec.LookPath("certutil")
	labtest.Need(t, err == nil, "the Debian package libnss3-tools")
	need(t)
}

// newLibreswan gives the guest its network and libreswan's files, merged with the
// machine's own by overlays, and makes a key. The daemon waits for start.
func newLibreswan(t *testing.T, ctx context.Context, g *Guest) *libreswan {
	t.Helper()
	l := &libreswan{t: t, ctx: ctx, guest: g, root: libreswanRoot()}
	l.makeKey()
	g.do(t, ctx, fmt.Sprintf(`set -e
		for f in all default vec0; do echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter; done
		ip link set lo up
		ip link set vec0 up
		ip addr add %s/%d dev vec0
		ip addr add %s/%d dev lo
		ip route add default via %s
		for d in usr etc var; do
			mkdir -p /run/over/$d/up /run/over/$d/work
			mount -t overlay overlay -o lowerdir=%s/$d:/$d,upperdir=/run/over/$d/up,workdir=/run/over/$d/work /$d
		done
		rm -rf /etc/ipsec.d/policies
		mkdir -p /var/lib/ipsec /etc/ipsec.d/policies
		cp -r %s/nss /var/lib/ipsec/`,
		ip4.outer[1], ip4.bits, ip4.inner[1], ip4.bits, ip4.outer[0], l.root, Share))
	return l
}

// makeKey makes the NSS database on the host, where that is quick.
func (l *libreswan) makeKey() {
	l.t.Helper()
	db := filepath.Join(l.guest.share, "nss")
	if err := os.Mkdir(db, 0o755); err != nil {
		l.t.Fatal(err)
	}
	bin := filepath.Join(l.root, "usr/libexec/ipsec")
	tool := func(name string, args ...string) string {
		l.t.Helper()
		out, err := exec.CommandContext(l.ctx, name, args...).Output()
		if err != nil {
			l.t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
		}
		return string(out)
	}
	show := func(args ...string) string {
		l.t.Helper()
		return tool(filepath.Join(bin, "showhostkey"), append([]string{"--nssdir", db}, args...)...)
	}
	tool("certutil", "-N", "-d", "sql:"+db, "--empty-password")
	tool(filepath.Join(bin, "rsasigkey"), "--nssdir", db, "2192")
	_, ckaid, _ := strings.Cut(show("--list"), "ckaid: ")
	l.key.ckaid = strings.TrimSpace(ckaid)
	_, public, _ := strings.Cut(show("--left", "--ckaid", l.key.ckaid), "leftrsasigkey=")
	l.key.public = strings.TrimSpace(public)
	_, record, _ := strings.Cut(show("--ipseckey", "--ckaid", l.key.ckaid), "IPSECKEY")
	l.key.record = "IPSECKEY " + strings.TrimSpace(record)
	if l.key.ckaid == "" || l.key.public == "" || l.key.record == "IPSECKEY " {
		l.t.Fatalf("no key: %+v", l.key)
	}
}

// start runs the daemon with files of /etc, by their names there, in place of
// the one before.
func (l *libreswan) start(files map[string]string) {
	l.t.Helper()
	dir := filepath.Join(l.guest.share, "etc")
	if err := os.RemoveAll(dir); err != nil {
		l.t.Fatal(err)
	}
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			l.t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	l.stop()
	l.guest.do(l.t, l.ctx, fmt.Sprintf(`set -e
		rm -f /etc/ipsec.d/policies/* /etc/ipsec.secrets %[2]s
		: >/etc/ipsec.secrets
		cp -r %[1]s/etc/. /etc/
		/usr/libexec/ipsec/pluto --config /etc/ipsec.conf --logfile %[2]s --log-no-audit --nhelpers 0`, Share, libreswanLog))
}

// stop ends the daemon, if it runs, with all that it had in the kernel.
func (l *libreswan) stop() {
	l.t.Helper()
	l.guest.do(l.t, l.ctx, `
		test -S /run/pluto/pluto.ctl || exit 0
		/usr/libexec/ipsec/whack --shutdown
		for i in $(seq 100); do test -e /run/pluto/pluto.pid || break; sleep 0.05; done
		ip xfrm state flush; ip xfrm policy flush; true`)
}

// await waits until its log says something.
func (l *libreswan) await(what string) {
	l.t.Helper()
	l.guest.do(l.t, l.ctx, fmt.Sprintf(`
		for i in $(seq 100); do grep -qF '%s' %s && exit 0; sleep 0.1; done
		echo 'libreswan does not say: %[1]s'; tail -n 40 %[2]s; exit 1`, what, libreswanLog))
}

func (l *libreswan) whack(args string) string {
	l.t.Helper()
	return l.guest.do(l.t, l.ctx, "/usr/libexec/ipsec/whack "+args)
}

// log is the end of what the daemon said, with what the kernel has.
func (l *libreswan) log() string {
	r, err := l.guest.Run(l.ctx, "tail -n 60 "+libreswanLog+"; ip -s xfrm state")
	if err != nil {
		return err.Error()
	}
	return r.Output()
}

// ping sends packets from the guest, with the mark in them that the capture on
// the wire looks for, and returns how many were answered. The first may have to
// wait for a tunnel, or be lost.
func (l *libreswan) ping(src, dst string, count int) int {
	l.t.Helper()
	r, err := l.guest.Run(l.ctx, fmt.Sprintf("ping -n -q -I %s -c %d -i 0.2 -W 2 -p %x %s", src, count, lab.Marker, dst))
	if err != nil {
		l.t.Fatal(err)
	}
	var sent, received int
	_, line, _ := strings.Cut(r.Stdout, "statistics ---\n")
	if _, err := fmt.Sscanf(line, "%d packets transmitted, %d received", &sent, &received); err != nil {
		l.t.Fatalf("ping says %q: %v", r.Output(), err)
	}
	return received
}
