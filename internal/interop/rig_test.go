package interop

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
	"cygnet/internal/rawkey"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// rig is our gateway west and strongSwan on east, with a capture between.
type rig struct {
	t    *testing.T
	lab  *lab.Lab
	west *lab.Gateway
	east *lab.Charon
	wire *lab.Capture
	bad  *lab.Wire // where the plan has loss
}

// plan is what differs between tests.
type plan struct {
	kind    string // psk (if empty), rsa, ecdsa, ed25519
	ike     string // ike= line; both sides
	esp     string // esp= line; both sides
	conn    string // more lines of our conn
	charon  string // more lines of charon's connection
	child   string // more lines of charon's child
	root    string // of another strongSwan than the machine's
	options []string
	loss    *lab.Loss         // of the wire between west and nic
	files   map[string]string // of ours, beside ipsec.conf
	before  func(r *rig)      // runs before our daemon starts
	spoil   func(p *parts)    // last change before the files are written
}

// parts are the texts that make the two ends, for tests that want them wrong.
type parts struct {
	conf, secrets, swanctl string
	files                  map[string]string // of charon
}

const (
	westID = "@west.lab"
	eastID = "@east.lab"
	psk    = "a secret of two strangers"
)

// start builds the network and starts both daemons. No tunnel is up yet.
func start(t *testing.T, p plan) *rig {
	t.Helper()
	labtest.Need(t, lab.HaveCharon(), "strongSwan with kernel-libipsec")
	r := &rig{t: t, lab: labtest.New(t, "ki")}
	var err error
	if p.loss != nil {
		r.bad, err = lab.BuildLossyManual(r.lab, nil, *p.loss)
	} else {
		err = lab.BuildManual(r.lab, nil)
	}
	r.must(err)
	r.west, err = lab.NewGateway(r.lab.Host("west"), labtest.Binary(t))
	r.must(err)
	t.Cleanup(func() {
		if t.Failed() {
			r.tellLogs()
		}
		r.stopWest()
	})
	r.wire, err = r.lab.Capture(r.lab.Host("nic"), "west", []netip.Prefix{lab.WestNet, lab.EastNet}, "")
	r.must(err)

	parts := r.texts(p)
	if p.spoil != nil {
		p.spoil(parts)
	}
	r.must(r.west.Write("ipsec.conf", parts.conf))
	r.must(r.west.Write("ipsec.secrets", parts.secrets))
	for name, text := range p.files {
		r.must(r.west.Write(name, text))
	}
	r.east, err = r.lab.StartCharon(t.Context(), r.lab.Host("east"), lab.CharonConfig{
		Swanctl: parts.swanctl, Files: parts.files, Options: p.options, Root: p.root,
	})
	r.must(err)
	if p.before != nil {
		p.before(r)
	}
	r.ipsec(0, "setup", "start")
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) stopWest() {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if r.west.PlutoPid() != 0 {
		r.west.Ipsec(ctx, "setup", "stop")
	}
}

// log is what our daemon has logged.
func (r *rig) log() string {
	b, err := os.ReadFile(r.west.Log())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (r *rig) tellLogs() {
	r.t.Logf("west's log:\n%s", r.log())
	if r.east != nil {
		r.t.Logf("east's log:\n%s", r.east.Log())
	}
}

// texts writes the configuration of both ends for a plan.
func (r *rig) texts(p plan) *parts {
	r.t.Helper()
	x := &parts{files: map[string]string{}}
	auth, extra := "psk", ""
	authby := "secret"
	x.secrets = fmt.Sprintf("%s %s : PSK %q\n", westID, eastID, psk)
	localKeys, remoteKeys := "", ""
	if p.kind != "" && p.kind != "psk" {
		auth, authby = "pubkey", "pubkey"
		westPublic, westSecret := r.westKey(p.kind)
		eastKey := newKey(r.t, p.kind)
		x.secrets = westSecret
		x.files["pubkey/west.pem"] = publicPEM(r.t, westPublic)
		x.files["pubkey/east.pem"] = publicPEM(r.t, eastKey.Public())
		x.files["private/east.pem"] = privatePEM(r.t, eastKey)
		localKeys, remoteKeys = "pubkeys = east.pem", "pubkeys = west.pem"
		text, err := rawkey.Format(eastKey.Public())
		r.must(err)
		extra = "\tright" + rawkey.Keyword(eastKey.Public()) + "=" + text + "\n"
	}
	var suites, proposals, espProposals string
	if p.ike != "" {
		suites += "\tike=" + p.ike + "\n"
		proposals = "proposals = " + p.ike
	}
	if p.esp != "" {
		suites += "\tesp=" + p.esp + "\n"
		espProposals = "esp_proposals = " + p.esp
	}
	x.conf = fmt.Sprintf(`version 2.0

config setup
	interfaces=%%defaultroute
	logfile=%s

conn net
	left=101.101.101.101
	leftid=%s
	leftsubnet=192.168.100.0/24
	right=202.202.202.202
	rightid=%s
	rightsubnet=192.168.200.0/24
	authby=%s
%s%s%s	auto=add
`, r.west.Log(), westID, eastID, authby, extra, suites, lines(p.conn))
	x.swanctl = fmt.Sprintf(`connections {
	net {
		version = 2
		local_addrs = 202.202.202.202
		remote_addrs = 101.101.101.101
		%s
		local {
			auth = %[2]s
			id = %[3]s
			%[4]s
		}
		remote {
			auth = %[2]s
			id = %[5]s
			%[6]s
		}
		%[7]s
		children {
			net {
				local_ts = 192.168.200.0/24
				remote_ts = 192.168.100.0/24
				%[8]s
				%[9]s
			}
		}
	}
}
secrets {
	ike-net {
		id-1 = %[3]s
		id-2 = %[5]s
		secret = "%[10]s"
	}
}
`, proposals, auth, strings.TrimPrefix(eastID, "@"), localKeys, strings.TrimPrefix(westID, "@"), remoteKeys,
		p.charon, espProposals, p.child, psk)
	return x
}

// lines indents the lines of a conn.
func lines(text string) string {
	var b strings.Builder
	for _, l := range strings.Fields(text) {
		b.WriteString("\t" + l + "\n")
	}
	return b.String()
}

// westKey has our command make west's key and returns it with the text of
// ipsec.secrets that it wrote.
func (r *rig) westKey(kind string) (crypto.PublicKey, string) {
	r.t.Helper()
	r.ipsec(0, "newhostkey", "--quiet", "--keytype", kind)
	out := r.ipsec(0, "showhostkey", "--left")
	_, text, ok := strings.Cut(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:], "=")
	if !ok {
		r.t.Fatalf("showhostkey: %s", out)
	}
	key, err := rawkey.Parse(strings.TrimSpace(text))
	r.must(err)
	b, err := os.ReadFile(r.west.Confs() + "/ipsec.secrets")
	r.must(err)
	return key, string(b)
}

func newKey(t *testing.T, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("no keys of kind %q", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicPEM(t *testing.T, key crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func privatePEM(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// ipsec runs an ipsec command on west, which must exit as expected, and
// returns what it printed.
func (r *rig) ipsec(exit int, args ...string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 90*time.Second)
	defer cancel()
	res, err := r.west.Ipsec(ctx, args...)
	r.must(err)
	if res.Exit != exit {
		r.t.Fatalf("ipsec %s: exit %d, want %d\n%s", strings.Join(args, " "), res.Exit, exit, res.Output())
	}
	return res.Output()
}

// swanctl runs a swanctl command on east, which must succeed.
func (r *rig) swanctl(args ...string) string {
	r.t.Helper()
	out, err := r.east.Swanctl(r.t.Context(), args...)
	r.must(err)
	return out
}

// initiate brings the tunnel up from one side.
func (r *rig) initiate(byUs bool) {
	r.t.Helper()
	if byUs {
		r.ipsec(0, "auto", "--up", "net")
		return
	}
	r.swanctl("--initiate", "--child", "net", "--timeout", "20")
}

// traffic checks that both networks reach each other and that the wire shows
// none of it, only IKE and IPsec.
func (r *rig) traffic() {
	r.t.Helper()
	before := r.counts()
	r.ping("sunset", lab.Sunrise)
	r.ping("sunrise", lab.Sunset)
	const size = 1 << 20
	if _, err := r.lab.Host("sunset").Send(r.t.Context(), r.lab.Host("sunrise"), lab.Sunrise, size, nil); err != nil {
		r.t.Error(err)
	}
	if _, err := r.lab.Host("sunrise").Send(r.t.Context(), r.lab.Host("sunset"), lab.Sunset, size, nil); err != nil {
		r.t.Error(err)
	}
	since := r.counts().Sub(before)
	if since.Foreign() > 0 {
		r.t.Errorf("wire: %+v, %v", since, r.wire.Suspects())
	}
	if b := since.Bytes[lab.ESP] + since.Bytes[lab.ESPinUDP]; b < 2*size {
		r.t.Errorf("only %d octets crossed protected", b)
	}
	r.secret()
}

func (r *rig) ping(from string, to netip.Addr) {
	r.t.Helper()
	res, err := r.lab.Host(from).Ping(r.t.Context(), lab.Echo{Dst: to, Count: 10, Interval: 10 * time.Millisecond})
	r.must(err)
	if res.Received != res.Sent {
		r.t.Errorf("ping from %s to %s: %d of %d answered", from, to, res.Received, res.Sent)
	}
}

// secret checks that nothing has crossed in the clear so far.
func (r *rig) secret() {
	r.t.Helper()
	if c := r.counts(); c.Frames[lab.Clear] > 0 || c.Lost > 0 {
		r.t.Errorf("wire: %+v, %v", c, r.wire.Suspects())
	}
}

func (r *rig) counts() lab.Counts {
	r.t.Helper()
	c, err := r.wire.Counts()
	r.must(err)
	return c
}

// within waits until cond holds, and fails the test if it does not in time.
func (r *rig) within(limit time.Duration, what string, cond func() bool) {
	r.t.Helper()
	if !lab.WaitFor(limit, cond) {
		r.t.Fatalf("%s: not within %v", what, limit)
	}
}

// charonSAs counts established IKE SAs and installed Child SAs of east.
func (r *rig) charonSAs() (ike, children int) {
	out := r.swanctl("--list-sas")
	return strings.Count(out, "ESTABLISHED"), strings.Count(out, "INSTALLED")
}
