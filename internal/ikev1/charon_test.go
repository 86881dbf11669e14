package ikev1

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
	"cygnet/internal/suite"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// live drives a node's machines with real sockets and the real time: the
// smallest daemon there can be. Only its loop touches the node.
type live struct {
	*node
	socks  map[uint16]*net.UDPConn
	events chan any // ike.Received or a func to be called
	done   chan struct{}
}

func goLive(t *testing.T, h *lab.Host, n *node) *live {
	t.Helper()
	l := &live{node: n, socks: map[uint16]*net.UDPConn{}, events: make(chan any, 64), done: make(chan struct{})}
	for _, port := range []uint16{500, 4500} {
		err := h.Do(func() (err error) {
			l.socks[port], err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(ipPort(n.addr, port)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		go l.read(port, l.socks[port])
	}
	go l.loop()
	t.Cleanup(func() {
		close(l.done)
		for _, s := range l.socks {
			s.Close()
		}
	})
	return l
}

func (l *live) read(port uint16, s *net.UDPConn) {
	buf := make([]byte, 65536)
	for {
		n, from, err := s.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		msg := buf[:n]
		if port == 4500 {
			if n < 4 || string(msg[:4]) != "\x00\x00\x00\x00" {
				continue // ESP, or a keepalive
			}
			msg = msg[4:]
		}
		ev := ike.Received{Local: ipPort(l.addr, port), Remote: netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), Msg: clone(msg)}
		select {
		case l.events <- ev:
		case <-l.done:
			return
		}
	}
}

// loop is the daemon's one goroutine.
func (l *live) loop() {
	for {
		l.p.now = time.Now()
		var timer <-chan time.Time
		if next, _, m := l.p.nextDeadline(); m != nil {
			if wait := time.Until(next); wait > 0 {
				timer = time.After(wait)
			} else {
				l.step(m, ike.TimeUp{})
				l.flush()
				continue
			}
		}
		select {
		case <-l.done:
			return
		case <-timer:
		case ev := <-l.events:
			l.p.now = time.Now()
			switch ev := ev.(type) {
			case ike.Received:
				l.receive(ike.Send{Local: ev.Remote, Remote: ev.Local, Msg: ev.Msg})
			case func():
				ev()
			}
		}
		l.flush()
	}
}

// flush puts on the wire what the machines have sent.
func (l *live) flush() {
	for _, d := range l.p.flying {
		msg := d.Msg
		if d.Local.Port() == 4500 {
			msg = append(make([]byte, 4), msg...)
		}
		l.socks[d.Local.Port()].WriteToUDPAddrPort(msg, d.Remote)
	}
	l.p.flying = nil
}

// call runs f in the loop.
func (l *live) call(f func()) {
	done := make(chan struct{})
	l.events <- func() { f(); close(done) }
	<-done
}

// until waits for something to be true in the loop.
func (l *live) until(d time.Duration, is func() bool) bool {
	return lab.WaitFor(d, func() (ok bool) {
		l.call(func() { ok = is() })
		return ok
	})
}

// against is one test with strongSwan as east.
type against struct {
	t      *testing.T
	west   *live
	charon *lab.Charon
	conn   *ike.Conn
}

func newAgainst(t *testing.T, conf string, files map[string]string, change func(*pair)) *against {
	t.Helper()
	labtest.Need(t, lab.HaveCharon(), "strongSwan with kernel-libipsec")
	l := labtest.New(t, "v1-")
	if err := lab.BuildManual(l, nil); err != nil {
		t.Fatal(err)
	}
	charon, err := l.StartCharon(t.Context(), l.Host("east"), lab.CharonConfig{Swanctl: conf, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	p := newPair(t, byte(time.Now().UnixNano()))
	change(p)
	a := &against{t: t, charon: charon, conn: p.west.conns[0]}
	a.west = goLive(t, l.Host("west"), p.west)
	return a
}

// fail shows what both sides have to say.
func (a *against) fail(format string, args ...any) {
	a.t.Helper()
	var ours string
	a.west.call(func() { ours = a.west.p.String() })
	a.t.Fatalf("%s\n%s\n%s", fmt.Sprintf(format, args...), ours, a.charon.Log())
}

func (a *against) swanctl(args ...string) string {
	a.t.Helper()
	out, err := a.charon.Swanctl(a.t.Context(), args...)
	if err != nil {
		a.fail("%v", err)
	}
	return out
}

func (a *against) up(n int) {
	a.t.Helper()
	ok := a.west.until(15*time.Second, func() bool { return len(facts[ike.ChildUp](a.west.node)) >= n })
	if !ok {
		a.fail("no IPsec SA")
	}
	if sas := a.swanctl("--list-sas"); !strings.Contains(sas, "ESTABLISHED") || !strings.Contains(sas, "INSTALLED") {
		a.fail("strongSwan lists:\n%s", sas)
	}
}

// samePair checks that the newest pair has the same SPIs at both ends.
func (a *against) samePair() {
	a.t.Helper()
	sas := a.swanctl("--list-sas")
	a.west.call(func() {
		ups := facts[ike.ChildUp](a.west.node)
		last := ups[len(ups)-1]
		for _, id := range []ipsec.SAID{last.In, last.Out} {
			if !strings.Contains(sas, fmt.Sprintf("%08x", uint32(id.SPI))) {
				a.t.Errorf("strongSwan does not have %s:\n%s", id, sas)
			}
		}
	})
}

func charonConf(proposal, esp, auth, extra string) string {
	return fmt.Sprintf(`connections {
	net {
		version = 1
		local_addrs = 202.202.202.202
		remote_addrs = 101.101.101.101
		proposals = %s
		%s
		local {
			id = @east
			%s
		}
		remote {
			id = @west
			%s
		}
		children { net {
			local_ts = 192.168.200.0/24
			remote_ts = 192.168.100.0/24
			esp_proposals = %s
		} }
	}
}
secrets { ike-1 { secret = "correct horse battery staple" } }
`, proposal, extra, strings.ReplaceAll(auth, "PEER", "east"), strings.ReplaceAll(auth, "PEER", "west"), esp)
}

const psk = "auth = psk"

func TestCharonPSK(t *testing.T) {
	for name, c := range map[string]struct {
		ike, esp string
		change   func(*ike.Conn)
	}{
		"AES":       {"aes256-sha256-modp2048", "aes256-sha256-modp2048", func(*ike.Conn) {}},
		"GCM":       {"aes128-sha512-ecp384", "aes128gcm16-ecp384", func(c *ike.Conn) { c.IKE, c.ESP = suite.DefaultIKE(), suite.DefaultESP(true) }},
		"no PFS":    {"aes256-sha256-modp2048", "aes256-sha256", func(c *ike.Conn) { c.PFS = false }},
		"FreeS/WAN": {"3des-sha1-modp1536", "3des-sha1-modp1536", func(c *ike.Conn) { c.IKE, c.ESP = suite.FreeSWANIKE(), suite.FreeSWANESP(true) }},
		"in UDP":    {"aes256-sha256-modp2048", "aes256-sha256-modp2048", func(c *ike.Conn) { c.Encap = ike.Auto }},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgainst(t, charonConf(c.ike, c.esp, psk, ""), nil, func(p *pair) { c.change(p.west.conns[0]) })
			if name == "GCM" { // the hash that strongSwan is content with
				a.west.call(func() { a.conn.IKE = parsed(suite.ParseIKE, "aes128-sha2_512-ecp384") })
			}
			a.west.call(func() { a.west.initiate() })
			a.up(1)
			a.samePair()
		})
	}
}

// strongSwan begins, replaces and deletes; then we do.
func TestCharonLife(t *testing.T) {
	a := newAgainst(t, charonConf("aes256-sha256-modp2048", "aes256-sha256-modp2048", psk, "dpd_delay = 2s"), nil, func(p *pair) {
		p.west.conns[0].DPDDelay = time.Second
	})
	a.swanctl("--initiate", "--child", "net")
	a.up(1)
	a.samePair()
	a.swanctl("--rekey", "--child", "net")
	if !a.west.until(10*time.Second, func() bool { return len(facts[ike.ChildUp](a.west.node)) == 2 }) {
		a.fail("strongSwan replaces no pair")
	}
	a.samePair()
	if !a.west.until(10*time.Second, func() bool { d := a.west.newest().dpd; return d.begun && d.tries == 0 }) {
		a.fail("strongSwan does not answer R-U-THERE")
	}
	a.west.call(func() { a.conn.DPDDelay = 0 })
	if !a.west.until(10*time.Second, func() bool { return a.west.newest().dpd.asked }) {
		a.fail("strongSwan does not ask R-U-THERE")
	}
	a.west.call(func() {
		s := a.west.newest()
		a.west.step(s, ike.Rekey{Child: s.children[len(s.children)-1].serial})
	})
	a.up(3)
	a.samePair()
	a.west.call(func() { a.west.step(a.west.newest(), ike.Rekey{}) })
	if !a.west.until(10*time.Second, func() bool { return len(facts[ike.IKEUp](a.west.node)) == 2 }) {
		a.fail("no new ISAKMP SA")
	}
	a.swanctl("--terminate", "--ike", "net")
	if !a.west.until(10*time.Second, func() bool {
		return len(a.west.plane) == 0 && len(a.west.machines) == 0
	}) {
		a.fail("strongSwan's Delete does not arrive")
	}
	// Now we begin and delete.
	a.west.call(func() { a.west.initiate() })
	a.up(4)
	a.samePair()
	a.west.call(func() { a.west.step(a.west.newest(), ike.Delete{}) })
	if !lab.WaitFor(10*time.Second, func() bool { return !strings.Contains(a.swanctl("--list-sas"), "INSTALLED") }) {
		a.fail("our Delete does not arrive:\n%s", a.swanctl("--list-sas"))
	}
}

func TestCharonRSA(t *testing.T) {
	public := func(key any) string {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	k := rsaKeys()
	files := map[string]string{
		"pubkey/west.pem": public(k[0].Public()), "pubkey/east.pem": public(k[1].Public()),
		"rsa/east.pem": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k[1])})),
	}
	conf := charonConf("aes256-sha256-modp2048", "aes256-sha256-modp2048", "auth = pubkey\n\t\t\tpubkeys = PEER.pem", "")
	for _, begin := range []string{"west", "east"} {
		t.Run(begin+" begins", func(t *testing.T) {
			a := newAgainst(t, conf, files, (*pair).useRSA)
			if begin == "west" {
				a.west.call(func() { a.west.initiate() })
			} else {
				a.swanctl("--initiate", "--child", "net")
			}
			a.up(1)
			a.samePair()
		})
	}
}

// What strongSwan says no to has its reason here.
func TestCharonRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*pair)
		reason ike.Reason
	}{
		"proposal": {func(p *pair) { p.west.conns[0].IKE = parsed(suite.ParseIKE, "aes128-sha1-modp3072") }, ike.ReasonProposal},
		"secret":   {func(p *pair) { p.west.psk = "wrong" }, ike.ReasonAuth},
		"identity": {func(p *pair) { p.west.conns[0].Local.ID = mustID("@mallory") }, ike.ReasonAuth},
		"ESP":      {func(p *pair) { p.west.conns[0].ESP = withKE(parsed(suite.ParseESP, "aes128-sha1"), 14) }, ike.ReasonProposal},
		"nets": {func(p *pair) {
			p.west.conns[0].Local.TS[0] = ipsec.TSOf(netip.MustParsePrefix("10.9.0.0/16"), 0, ipsec.Ports{})
		}, ike.ReasonTS},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgainst(t, charonConf("aes256-sha256-modp2048", "aes256-sha256-modp2048", psk, ""), nil, func(p *pair) {
				p.west.conns[0].RetransmitFirst, p.west.conns[0].RetransmitTotal = time.Second, 3*time.Second
				c.change(p)
			})
			a.west.call(func() { a.west.initiate() })
			if !a.west.until(15*time.Second, func() bool { return len(facts[ike.Failed](a.west.node)) == 1 }) {
				a.fail("no failure")
			}
			var why *ike.Failure
			a.west.call(func() { why = facts[ike.Failed](a.west.node)[0].Why })
			if why.Reason != c.reason {
				a.fail("%s: %+v", why.Reason, why)
			}
			t.Logf("%s", why.Why)
		})
	}
}
