package pluto

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/oe"
	"cygnet/internal/rawkey"
	"cygnet/internal/whack"
)

// names is a DNS of a test: what it does not know has, provably, no record.
type names struct {
	mu      sync.Mutex
	answers map[oe.Query]oe.Answer
	silent  bool // nothing is answered
	waiting int  // questions without an answer
	forgot  []string
}

func (n *names) Lookup(ctx context.Context, name string, rrtype uint16) (oe.Answer, error) {
	n.mu.Lock()
	a, ok := n.answers[oe.Query{Name: name, Type: rrtype}]
	silent := n.silent
	n.waiting++
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		n.waiting--
		n.mu.Unlock()
	}()
	if silent {
		<-ctx.Done()
		return oe.Answer{}, ctx.Err()
	}
	if !ok {
		a = oe.Answer{Security: oe.Secure, NXDomain: true}
	}
	a.Expires = time.Now().Add(10 * time.Minute)
	return a, nil
}

func (n *names) Forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forgot = append(n.forgot, name)
}

func (n *names) open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.waiting
}

func (n *names) publish(t *testing.T, owner, gateway netip.Addr, key *rsa.PrivateKey) {
	rec := oe.Record{Precedence: 10, Key: &key.PublicKey}
	if owner != gateway {
		rec.Gateway.Addr = gateway
	}
	raw, err := rec.AppendIPSECKEY(nil)
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers[oe.Query{Name: oe.ReverseName(owner), Type: oe.TypeIPSECKEY}] = oe.Answer{Security: oe.Secure, Found: true, Raw: [][]byte{raw}}
}

func (g *gateway) readGroups(f *config.File) *config.Groups {
	g.mu.Lock()
	defer g.mu.Unlock()
	fsys := config.MapFS{Files: map[string]string{}}
	for name, text := range g.groups {
		fsys.Files["policies/"+name] = text
	}
	return config.ParseGroups(fsys, "policies", f)
}

func (g *gateway) group(name, text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.groups = map[string]string{name: text}
}

// unknown gives both gateways keys, and a DNS that knows them and their clients.
func unknown(t *testing.T, p *pair) *names {
	dns := &names{answers: map[oe.Query]oe.Answer{}}
	for _, x := range []struct {
		g            *gateway
		addr, client netip.Addr
	}{{p.west, westAddr, sunset}, {p.east, eastAddr, sunrise}} {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := (rawkey.Block{Key: key}).WriteEntry(&b, ""); err != nil {
			t.Fatal(err)
		}
		x.g.secrets, x.g.dns = b.String(), dns
		dns.publish(t, x.addr, x.addr, key)
		dns.publish(t, x.client, x.addr, key)
	}
	return dns
}

// R15.8: two gateways that nobody has told of each other carry packets of their
// clients, and the first one is not lost.
func TestStrangers(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		unknown(t, p)
		p.west.start(setup)
		p.east.start(setup)
		time.Sleep(time.Second)
		p.west.send(sunset, sunrise, "first")
		time.Sleep(time.Second)
		if got := p.east.got(); !slices.Equal(got, []string{"first"}) {
			t.Errorf("east got %q\n%s\n%s", got, p.west.log, p.east.log)
		}
		p.carries(t, "second")
		for _, g := range []*gateway{p.west, p.east} {
			lines := strings.Join(g.must(whack.OpPolicy, ""), "\n")
			if !strings.Contains(lines, "encrypted by packetdefault") || !strings.Contains(lines, "authentication secure") {
				t.Errorf("%s: %s", g.name, lines)
			}
		}
		if n := len(p.wires[0].Clear()) + len(p.wires[1].Clear()); n != 0 {
			t.Errorf("%d packets in the clear", n)
		}
		// Unused, it is closed; the next packet brings it back.
		time.Sleep(6 * time.Minute)
		if strings.Contains(strings.Join(p.west.must(whack.OpPolicy, ""), "\n"), "encrypted") {
			t.Errorf("still there\n%s", p.west.log)
		}
		p.west.send(sunset, sunrise, "third")
		time.Sleep(time.Second)
		if got := p.east.got(); !slices.Equal(got, []string{"third"}) {
			t.Errorf("east got %q", got)
		}
	})
}

// D04: the key in the DNS is another one than a moment ago: what is remembered of
// it is forgotten, and asked again.
func TestKeyIsAskedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		dns := unknown(t, p)
		other, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		p.west.start(setup)
		p.east.start(setup)
		time.Sleep(time.Second)
		dns.publish(t, sunrise, eastAddr, other)
		p.west.send(sunset, sunrise, "lost")
		time.Sleep(3 * time.Second)
		dns.mu.Lock()
		defer dns.mu.Unlock()
		if !slices.Contains(dns.forgot, oe.ReverseName(sunrise)) {
			t.Errorf("forgotten was %q\n%s", dns.forgot, p.west.log)
		}
	})
}

// 2.5 and B29: reading the groups again changes all or nothing, and says what.
func TestRereadGroups(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		unknown(t, p)
		p.west.group("block", "10.2.0.0/24\n")
		p.west.start(setup)
		time.Sleep(time.Second)
		explain := func() string {
			var text string
			p.west.Do(context.Background(), whack.Request{Op: whack.OpPolicy, Args: whack.Args{Flow: &whack.FlowSpec{Src: westAddr, Dst: sunrise}}},
				func(r whack.Reply) { text = r.Text })
			return text
		}
		if got := explain(); !strings.Contains(got, "%reject by block#10.2.0.0/24") {
			t.Fatal(got)
		}
		p.west.group("clear", "10.2.0.0/24\n10.3.0.0/24 tcp 0 port\n")
		out, final := p.west.do(whack.OpReadGroups, "")
		if final.Exit != whack.ExitFailed || len(out) != 1 || !strings.Contains(out[0], "policies/clear:2") || !strings.Contains(explain(), "%reject") {
			t.Errorf("%q %+v, then %s", out, final, explain())
		}
		p.west.group("clear", "10.2.0.0/24\n")
		if out := p.west.must(whack.OpReadGroups, ""); !slices.Equal(out, []string{"000 +0 -0 ~1 entries"}) || !strings.Contains(explain(), "%pass by clear#10.2.0.0/24") {
			t.Errorf("%q, then %s", out, explain())
		}
	})
}

// A question whose answer nobody waits for any more is ended, by a change of the
// groups as by the end of the daemon.
func TestLookupsEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		dns := unknown(t, p)
		p.west.group("private", "0.0.0.0/0\n")
		p.west.start(setup)
		time.Sleep(time.Second)
		dns.mu.Lock()
		dns.silent = true
		dns.mu.Unlock()
		p.west.send(westAddr, sunrise, "waits")
		time.Sleep(time.Second)
		if dns.open() == 0 {
			t.Fatalf("nothing was asked\n%s", p.west.log)
		}
		p.west.group("clear", "0.0.0.0/0\n")
		p.west.must(whack.OpReadGroups, "")
		time.Sleep(time.Millisecond)
		if n := dns.open(); n != 0 {
			t.Errorf("%d questions are still open", n)
		}
		p.west.send(sunset, netip.MustParseAddr("10.2.0.77"), "waits too")
		time.Sleep(100 * time.Millisecond)
		p.west.stop()
		if n := dns.open(); n != 0 {
			t.Errorf("%d questions outlive the daemon", n)
		}
	})
}
