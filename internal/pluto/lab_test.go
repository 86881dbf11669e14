package pluto

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/firewall"
	"cygnet/internal/host"
	"cygnet/internal/ipsec"
	"cygnet/internal/keys"
	"cygnet/internal/klips"
	"cygnet/internal/oe"
	"cygnet/internal/suite"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
	"cygnet/internal/whack"
)

// gateway is a daemon with a data plane, a machine and a wire in memory.
type gateway struct {
	*Daemon
	t       *testing.T
	name    string
	machine *host.Fake
	plane   *memPlane
	log     *lines
	cancel  context.CancelFunc
	done    chan error
	bubble  bool // of inBubble, where everybody can be waited for

	mu      sync.Mutex
	conf    string
	secrets string

	leases   func() (Leases, error)
	resolver func([]string) NameServers
	noIKE    bool
	runDir   string

	scriptEnv []string
	filter    firewall.Firewall
	selfTest  func() []suite.Broken
	dns       oe.Resolver
	groups    map[string]string // policy group files
}

// memPlane attaches klips to one end of a wire.
type memPlane struct {
	*klips.Plane
	wire   underlay.Underlay
	mu     sync.Mutex
	inside *tun.Memory // the kernel's side of ipsec0
	made   []ipsec.SA  // every SA that was ever added, with copies of its keys
	handed []ipsec.SA  // the same, with the keys where the daemon had them
}

func (p *memPlane) AddSA(ctx context.Context, sa ipsec.SA) error {
	p.mu.Lock()
	own := sa
	own.EncrKey, own.IntegKey = ipsec.NewSecret(bytes.Clone(sa.EncrKey.Bytes())), ipsec.NewSecret(bytes.Clone(sa.IntegKey.Bytes()))
	p.made, p.handed = append(p.made, own), append(p.handed, sa)
	p.mu.Unlock()
	return p.Plane.AddSA(ctx, sa)
}

func (p *memPlane) Attach(a Attachment) (underlay.Underlay, error) {
	dev, inside := tun.Pair(a.Virtual, "kernel")
	wire := p.wire
	if a.Virtual == "ipsec0" {
		p.mu.Lock()
		p.inside = inside
		p.mu.Unlock()
	} else { // a wire to nowhere
		wire, _ = underlay.NewPair(a.Addrs, nil)
	}
	return wire, p.Plane.Attach(klips.Interface{Virtual: a.Virtual, Physical: a.Physical, TUN: dev, Underlay: wire, Addrs: a.Addrs})
}

// tap is a wire that can be cut.
type tap struct {
	*underlay.Memory
	mu  sync.Mutex
	cut bool
	ike int
}

func (w *tap) SendIKE(local, remote netip.AddrPort, msg []byte) error {
	w.mu.Lock()
	cut := w.cut
	w.ike++
	w.mu.Unlock()
	if cut {
		return nil
	}
	return w.Memory.SendIKE(local, remote, msg)
}

func (w *tap) setCut(on bool) {
	w.mu.Lock()
	w.cut = on
	w.mu.Unlock()
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var (
	westAddr = netip.MustParseAddr("192.0.2.1")
	eastAddr = netip.MustParseAddr("198.51.100.1")
	sunset   = netip.MustParseAddr("10.1.0.10")
	sunrise  = netip.MustParseAddr("10.2.0.10")
)

const setup = "version 2.0\nconfig setup\n\tinterfaces=ipsec0=eth0\n"

// tunnel is a connection between the two networks; lines change it.
func tunnel(name string, lines ...string) string {
	all := []string{"authby=secret", "left=192.0.2.1", "leftid=@west", "leftsubnet=10.1.0.0/24", "right=198.51.100.1", "rightid=@east", "rightsubnet=10.2.0.0/24"}
	for _, l := range lines {
		key, _, _ := strings.Cut(l, "=")
		all = slices.DeleteFunc(all, func(old string) bool { return strings.HasPrefix(old, key+"=") })
		all = append(all, l)
	}
	return "conn " + name + "\n\t" + strings.Join(all, "\n\t") + "\n"
}

const goodSecret = "@west @east : PSK \"a secret of the two, long enough to be one\"\n"

// pair is two gateways on a wire.
type pair struct {
	west, east *gateway
	wires      [2]*tap
}

// inBubble runs f with two gateways, not yet started, in virtual time.
func inBubble(t *testing.T, f func(t *testing.T, p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		wa, wb := underlay.NewPair([]netip.Addr{westAddr}, []netip.Addr{eastAddr})
		p := &pair{wires: [2]*tap{{Memory: wa}, {Memory: wb}}}
		p.west = newGateway(t, "west", westAddr, p.wires[0])
		p.east = newGateway(t, "east", eastAddr, p.wires[1])
		p.west.bubble, p.east.bubble = true, true
		defer func() { // after a failed test as well
			for _, g := range []*gateway{p.west, p.east} {
				g.stop()
				g.plane.Close()
			}
		}()
		f(t, p)
	})
}

func newGateway(t *testing.T, name string, addr netip.Addr, wire underlay.Underlay) *gateway {
	g := &gateway{t: t, name: name, log: &lines{}, plane: &memPlane{Plane: klips.New(klips.Options{}), wire: wire},
		machine: &host.Fake{
			Links:    []host.Interface{{Name: "eth0", Index: 2, Up: true, MTU: 1500, Addrs: []netip.Prefix{netip.PrefixFrom(addr, 24)}}},
			Defaults: [2]host.DefaultRoute{{Device: "eth0", Addr: addr, NextHop: addr.Next()}},
		},
		secrets: goodSecret}
	return g
}

// ring is a key ring that reads the gateway's secrets.
type ring struct {
	*keys.Ring
	g *gateway
}

func (r ring) Reload(*config.File) error {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	r.Set(config.ParseSecrets(config.MapFS{Files: map[string]string{"ipsec.secrets": r.g.secrets}}, "ipsec.secrets", config.SecretsOptions{}))
	return nil
}

func (g *gateway) write(conf string) {
	g.mu.Lock()
	g.conf = conf
	g.mu.Unlock()
}

// start runs the daemon and returns when it is ready.
func (g *gateway) start(conf string) {
	g.t.Helper()
	g.write(conf)
	ready := make(chan struct{})
	d, err := New(Options{Version: "test", Leases: g.leases, NameServers: g.resolver, Plane: g.plane, Host: g.machine, Keys: ring{keys.New(keys.Options{}), g}, ScriptEnv: g.scriptEnv, Firewall: g.filter, Resolver: g.dns, Groups: g.readGroups, NoIKE: g.noIKE, RunDir: g.runDir, SelfTest: g.selfTest,
		Log:   slog.New(NewLogHandler(g.log, false, slog.LevelInfo)),
		Ready: func() { close(ready) },
		Config: func(string) (*config.File, error) {
			g.mu.Lock()
			defer g.mu.Unlock()
			f := config.ParseText("ipsec.conf", g.conf)
			return f, f.Err()
		}})
	if err != nil {
		g.t.Fatal(err)
	}
	g.Daemon = d
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel, g.done = cancel, make(chan error, 1)
	go func() { g.done <- d.Run(ctx) }()
	select {
	case <-ready:
	case err := <-g.done:
		g.t.Fatalf("%s does not start: %v\n%s", g.name, err, g.log)
	}
}

func (g *gateway) stop() {
	if g.cancel == nil {
		return
	}
	g.cancel()
	if err := <-g.done; err != nil {
		g.t.Errorf("%s: %v", g.name, err)
	}
	g.cancel = nil
}

// do asks for an operation and returns the lines and the final reply.
func (g *gateway) do(op whack.Op, name string) ([]string, whack.Reply) {
	var out []string
	final := g.Do(context.Background(), whack.Request{Op: op, Args: whack.Args{Name: name}}, func(r whack.Reply) {
		out = append(out, fmt.Sprintf("%03d %s", r.Code, r.Text))
	})
	return out, final
}

// must asks for an operation that has to succeed. It returns when the other end,
// which may be a step behind, is done as well.
func (g *gateway) must(op whack.Op, name string) []string {
	g.t.Helper()
	out, final := g.do(op, name)
	if !final.Final || final.Exit != whack.ExitDone {
		g.t.Fatalf("%s: %s %s: %+v\n%s\n%s", g.name, op, name, final, strings.Join(out, "\n"), g.log)
	}
	if g.bubble {
		synctest.Wait()
	}
	return out
}

// states counts lines of the status report that contain all words.
func (g *gateway) states(words ...string) int {
	n := 0
	for _, line := range g.must(whack.OpStatus, "") {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			n++
		}
	}
	return n
}

// eroute is what happens to packets to the other network.
func (g *gateway) eroute() string {
	for _, line := range g.must(whack.OpEroutes, "") {
		if _, target, ok := strings.Cut(line, "=> "); ok {
			return target
		}
	}
	return "none"
}

// packet makes an IP packet of an experimental protocol.
func packet(src, dst netip.Addr, text string) []byte {
	b := make([]byte, 20, 20+len(text))
	s, d := src.As4(), dst.As4()
	b[0], b[8], b[9] = 0x45, 64, 253
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(text)))
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return append(b, text...)
}

// send gives a packet to ipsec0, as the kernel's routes would.
func (g *gateway) send(src, dst netip.Addr, text string) {
	g.t.Helper()
	frame := append(make([]byte, tun.HeaderLen), packet(src, dst, text)...)
	if err := g.plane.kernel().Queues()[0].Write([][]byte{frame}); err != nil {
		g.t.Fatal(err)
	}
	synctest.Wait()
}

func (p *memPlane) kernel() *tun.Memory {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inside
}

// got returns the payloads that have come out of ipsec0.
func (g *gateway) got() []string {
	synctest.Wait()
	var texts []string
	b := make([]byte, tun.MaxRead)
	for {
		n, err := g.plane.kernel().Queues()[0].Read(b, false)
		if err != nil {
			return texts
		}
		texts = append(texts, string(b[tun.HeaderLen+20:n]))
	}
}

// carries sends a packet each way.
func (p *pair) carries(t *testing.T, text string) {
	t.Helper()
	p.west.send(sunset, sunrise, text+" there")
	if got := p.east.got(); !slices.Equal(got, []string{text + " there"}) {
		t.Errorf("%s: east got %q", text, got)
	}
	p.east.send(sunrise, sunset, text+" back")
	if got := p.west.got(); !slices.Equal(got, []string{text + " back"}) {
		t.Errorf("%s: west got %q", text, got)
	}
}

// until lets time pass until ok, at most limit.
func until(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Since(began) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
