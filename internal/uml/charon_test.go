package uml

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
)

// The guest's strongSwan drives Linux's XFRM, which has what the userspace data
// plane of the other tests with strongSwan has not: AH, IPComp and ESN.

const (
	charonPath = "/usr/lib/ipsec/charon"
	charonLog  = "/run/charon.log"
	secret     = "a secret of two strangers"
)

// negotiated is a connection that both daemons shall agree on.
type negotiated struct {
	name    string
	version int
	ours    string // more of our conn
	charons string // more of charon's child
	want    string // what is said when it is up
	protos  string // that Linux must then have SAs of, innermost first
}

func (n negotiated) conf(log string) string {
	return fmt.Sprintf(`version 2.0

config setup
	interfaces=ipsec0=tap0
	logfile=%s

conn net
	left=%s
	leftsubnet=%s
	right=%s
	rightsubnet=%s
	authby=secret
	keyexchange=ikev%d
	encapsulation=no
	pfs=no
	auto=add
	%s
`, log, ip4.outer[0], ip4.net(0), ip4.outer[1], ip4.net(1), n.version, n.ours)
}

func (n negotiated) swanctl() string {
	return fmt.Sprintf(`connections {
	net {
		version = %d
		proposals = aes128-sha256-modp2048
		local_addrs = %[2]s
		remote_addrs = %[3]s
		local { auth = psk }
		remote { auth = psk }
		children {
			net {
				local_ts = %[4]s
				remote_ts = %[5]s
				%[6]s
			}
		}
	}
}
secrets { ike-net { secret = "%[7]s" } }
`, n.version, ip4.outer[1], ip4.outer[0], ip4.net(1), ip4.net(0), n.charons, secret)
}

const strongswanConf = `charon {
	load = random nonce aes des sha1 sha2 md5 hmac kdf gmp openssl kernel-netlink socket-default vici
	retransmit_timeout = 2.0
	filelog { lab { path = ` + charonLog + `
		flush_line = yes
		default = 1
		knl = 2
		cfg = 2 } }
}
`

// TestCharonOnXFRM (R20.3): AH, compression inside ESP and AH, and extended
// sequence numbers with and without an AEAD, negotiated with strongSwan in both
// versions and roles, and the packets exchanged with the kernel.
func TestCharonOnXFRM(t *testing.T) {
	_, err := os.Stat(charonPath)
	labtest.Need(t, err == nil, "strongSwan")
	need(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	l := labtest.New(t, "kc")
	h, err := l.AddHost("west")
	if err != nil {
		t.Fatal(err)
	}
	x := &xfrmPeer{t: t, ctx: ctx, host: h, guest: boot(t, ctx, h)}
	x.begin()
	for _, n := range []negotiated{
		{"ah", 2, "phase2=ah", "ah_proposals = sha256", "{AH=>0x", "ah"},
		{"ah-sha1", 1, "phase2=ah\n\tphase2alg=sha1", "ah_proposals = sha1", "{AH=>0x", "ah"},
		{"ah-md5", 1, "ah=hmac-md5-96", "ah_proposals = md5", "{AH=>0x", "ah"},
		{"ipcomp", 2, "compress=yes", "ipcomp = yes", "+DEFLATE}", "comp esp"},
		{"ipcomp", 1, "compress=yes\n\tesp=aes128-sha1", "ipcomp = yes\n\t\t\t\tesp_proposals = aes128-sha1", "+DEFLATE}", "comp esp"},
		{"esn-gcm", 2, "esn=yes\n\tesp=aes128gcm16", "esp_proposals = aes128gcm16-esn", "AES_GCM_16_128/ESN}", "esp"},
		{"esn-cbc", 2, "esn=yes\n\tesp=aes128-sha256", "esp_proposals = aes128-sha256-esn", "HMAC_SHA2_256_128/ESN}", "esp"},
		{"ipcomp-ah", 2, "phase2=ah\n\tcompress=yes", "ipcomp = yes\n\t\t\t\tah_proposals = sha256", "+DEFLATE}", "comp ah"},
	} {
		for _, byUs := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/v%d/byUs=%v", n.name, n.version, byUs), func(t *testing.T) {
				x.t = t
				x.load(n)
				x.initiate(byUs)
				x.works(n)
				if byUs { // who began does not matter, and half the time is saved
					x.rekeys(n)
				}
			})
		}
	}
	if t.Failed() {
		r, err := x.guest.Run(ctx, "tail -n 300 "+charonLog+"; cat /proc/net/xfrm_stat")
		ours, _ := os.ReadFile(x.west.Log())
		t.Logf("the guest: %s %v\nours: %s", r.Output(), err, ours)
	}
}

// xfrmPeer is our gateway in a namespace and charon in the guest.
type xfrmPeer struct {
	t     *testing.T
	ctx   context.Context
	host  *lab.Host
	guest *Guest
	west  *lab.Gateway
}

func (x *xfrmPeer) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// begin starts both daemons without connections.
func (x *xfrmPeer) begin() {
	x.must(x.host.AddAddr("lo", netip.PrefixFrom(ip4.inner[0], ip4.bits)))
	var err error
	x.west, err = lab.NewGateway(x.host, labtest.Binary(x.t))
	x.must(err)
	x.must(x.west.Write("ipsec.secrets", fmt.Sprintf("%s %s : PSK %q\n", ip4.outer[0], ip4.outer[1], secret)))
	x.must(x.west.Write("ipsec.conf", negotiated{version: 2}.conf(x.west.Log())))
	x.must(os.WriteFile(filepath.Join(x.guest.share, "strongswan.conf"), []byte(strongswanConf), 0o600))
	x.guest.do(x.t, x.ctx, fmt.Sprintf(`set -e
		for f in all default vec0; do echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter; done
		ip link set lo up
		ip link set vec0 up
		ip addr add %s/%d dev vec0
		ip addr add %s/%d dev lo
		export STRONGSWAN_CONF=%s/strongswan.conf
		%s >/run/charon.out 2>&1 &
		for i in $(seq 200); do test -S /run/charon.vici && exit 0; sleep 0.1; done
		cat /run/charon.out; exit 1`, ip4.outer[1], ip4.bits, ip4.inner[1], ip4.bits, Share, charonPath))
	x.ipsec("setup", "start")
	x.t.Cleanup(func() { // not by x.ctx, which is over then
		if _, err := x.west.Ipsec(context.Background(), "setup", "stop"); err != nil {
			x.t.Error(err)
		}
	})
}

func (x *xfrmPeer) ipsec(args ...string) string {
	x.t.Helper()
	r, err := x.west.Ipsec(x.ctx, args...)
	x.must(err)
	if r.Exit != 0 {
		x.t.Fatalf("ipsec %s: exit %d\n%s", strings.Join(args, " "), r.Exit, r.Output())
	}
	return r.Output()
}

func (x *xfrmPeer) swanctl(args string) string {
	x.t.Helper()
	return x.guest.do(x.t, x.ctx, fmt.Sprintf("export STRONGSWAN_CONF=%s/strongswan.conf SWANCTL_DIR=%s/swanctl; swanctl %s", Share, Share, args))
}

// load gives both ends a connection in place of the one before.
func (x *xfrmPeer) load(n negotiated) {
	x.t.Helper()
	x.must(os.MkdirAll(filepath.Join(x.guest.share, "swanctl"), 0o755))
	x.must(os.WriteFile(filepath.Join(x.guest.share, "swanctl", "swanctl.conf"), []byte(n.swanctl()), 0o600))
	x.must(x.west.Write("ipsec.conf", n.conf(x.west.Log())))
	x.ipsec("auto", "--replace", "net")
	if !lab.WaitFor(10*time.Second, func() bool { return !strings.Contains(x.swanctl("--list-sas"), "net") }) {
		x.t.Fatalf("charon keeps\n%s", x.swanctl("--list-sas"))
	}
	x.swanctl("--load-all --noprompt")
}

func (x *xfrmPeer) initiate(byUs bool) {
	x.t.Helper()
	if byUs {
		x.ipsec("auto", "--up", "net")
		return
	}
	x.swanctl("--initiate --child net --timeout 20")
	// As the responder of IKEv1 we are the last to have an outbound SA.
	if !lab.WaitFor(5*time.Second, func() bool { return strings.Contains(x.ipsec("auto", "--status"), "IPsec SA established") }) {
		x.t.Fatal("our side does not come up")
	}
}

// works checks what both ends agreed on, and that packets come through both
// ways: small ones, that IPComp leaves as they are, and such as shrink.
func (x *xfrmPeer) works(n negotiated) {
	x.t.Helper()
	if log, err := os.ReadFile(x.west.Log()); err != nil || !strings.Contains(lastUp(string(log)), n.want) {
		x.t.Errorf("%q is not %q, %v", lastUp(string(log)), n.want, err)
	}
	state := x.guest.do(x.t, x.ctx, "ip xfrm state")
	for _, proto := range strings.Fields(n.protos) {
		if strings.Count(state, "proto "+proto+" ") < 2 {
			x.t.Errorf("Linux has no pair of %s\n%s", proto, state)
		}
	}
	for _, size := range []int{20, 1200} {
		r, err := x.host.Ping(x.ctx, lab.Echo{Src: ip4.inner[0], Dst: ip4.inner[1], Count: 5, Interval: 20 * time.Millisecond, Size: size, Wait: 5 * time.Second})
		if err != nil || r.Received != r.Sent {
			x.t.Errorf("ping of %d octets: %+v, %v\n%s", size, r, err, x.ipsec("look"))
		}
	}
	if sas := x.ipsec("spi"); strings.Contains(n.protos, "comp") != strings.Contains(sas, "ratio=") {
		x.t.Errorf("compression: SAs are\n%s", sas)
	}
}

// rekeys replaces the pair from either end; packets go on.
func (x *xfrmPeer) rekeys(n negotiated) {
	x.t.Helper()
	x.ipsec("whack", "--rekey", "--name", "net")
	x.works(n)
	x.swanctl("--rekey --child net")
	x.works(n)
}

// lastUp is the newest line about a pair that came up.
func lastUp(log string) string {
	i := strings.LastIndex(log, "IPsec SA established")
	if i < 0 {
		return ""
	}
	line, _, _ := strings.Cut(log[i:], "\n")
	return line
}
