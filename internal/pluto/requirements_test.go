package pluto

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/rawkey"
	"cygnet/internal/underlay"
	"cygnet/internal/whack"
)

// What the manual asks of the daemon, requirement by requirement, where no
// other test of this package shows it.

// hostKey is an RSA key in the forms of the two files.
type hostKey struct{ public, secret string }

// hostKeys makes them once; that takes real time, and must not happen in a
// bubble of virtual time.
var hostKeys = sync.OnceValue(func() []hostKey {
	var list []hostKey
	for range 3 {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		var b strings.Builder
		err = rawkey.Block{Key: k, Comment: "test"}.WriteEntry(&b, "")
		public, err2 := rawkey.Format(&k.PublicKey)
		if err != nil || err2 != nil {
			panic(fmt.Sprint(err, err2))
		}
		list = append(list, hostKey{public, b.String()})
	}
	return list
})

// rsaTunnel is a connection between the two networks that proves with the keys
// of its ends.
func rsaTunnel(name string, west, east hostKey, lines ...string) string {
	return tunnel(name, append([]string{"authby=rsasig", "leftrsasigkey=" + west.public, "rightrsasigkey=" + east.public}, lines...)...)
}

// R5.1, R5.2, R4.5: a connection by secret and one by RSA keys, of which the
// secrets stand in one file; one that takes either; one that never negotiates.
func TestAuthBy(t *testing.T) {
	keys := hostKeys()
	inBubble(t, func(t *testing.T, p *pair) {
		conf := func(auto string) string {
			return setup + tunnel("secret", auto) +
				rsaTunnel("keys", keys[0], keys[1], "leftid=@west-rsa", "rightid=@east-rsa", "rightsubnet=10.3.0.0/24", auto) +
				rsaTunnel("either", keys[0], keys[1], "authby=secret|rsasig", "leftid=@west-both", "rightid=@east-both", "rightsubnet=10.4.0.0/24", auto) +
				"conn never\n\tauthby=never\n\ttype=drop\n\tleft=192.0.2.1\n\tright=198.51.100.1\n\trightsubnet=10.5.0.0/24\n\t" + auto + "\n"
		}
		p.west.secrets, p.east.secrets = goodSecret+keys[0].secret, goodSecret+keys[1].secret
		p.west.start(conf("auto=add"))
		p.east.start(conf("auto=add"))
		for _, name := range []string{"secret", "keys", "either"} {
			p.west.must(whack.OpUp, name)
		}
		if n := p.east.states(established); n != 3 {
			t.Errorf("%d of 3 are up", n)
		}
		p.carries(t, "by secret")
		if _, final := p.west.do(whack.OpUp, "never"); final.Code != whack.CodeNever || !strings.Contains(final.Text, "cannot initiate an authby=never connection") {
			t.Errorf("up of never: %+v", final)
		}
		p.west.must(whack.OpRoute, "never")
		if lines := strings.Join(p.west.must(whack.OpEroutes, ""), "\n"); !strings.Contains(lines, "10.5.0.0/24        => %drop") {
			t.Errorf("never is no shunt:\n%s", lines)
		}
	})
}

// R6.7: west changes its key. East has been told of the new one as a second
// key; west reads its secrets again, nothing is restarted, and no packet is
// lost though the IKE SA is made anew with the new key.
func TestChangeOfKeys(t *testing.T) {
	keys := hostKeys()
	inBubble(t, func(t *testing.T, p *pair) {
		before, after, east := keys[0], keys[2], keys[1]
		v1 := "keyexchange=ikev1" // whose IKE SAs are authenticated anew when they are replaced
		p.west.secrets, p.east.secrets = before.secret, east.secret
		p.west.start(setup + rsaTunnel("net", before, east, "auto=add", v1))
		p.east.start(setup + rsaTunnel("net", before, east, "auto=add", v1, "leftrsasigkey2="+after.public))
		p.west.must(whack.OpUp, "net")
		p.carries(t, "old key")

		p.west.mu.Lock()
		p.west.secrets = after.secret
		p.west.mu.Unlock()
		p.west.must(whack.OpReadSecrets, "")
		p.carries(t, "between the keys")
		if final := p.west.Do(t.Context(), whack.Request{Op: whack.OpRekey, Args: whack.Args{Serial: 1}}, nil); final.Exit != whack.ExitDone {
			t.Fatalf("rekey #1: %+v", final)
		}
		for i := range 100 {
			p.carries(t, fmt.Sprint("packet ", i))
			time.Sleep(50 * time.Millisecond)
		}
		if n := p.east.states("ISAKMP SA established"); n == 0 {
			t.Errorf("no IKE SA by the new key\n%s", p.east.log)
		}
		p.west.must(whack.OpDown, "net")
		p.west.must(whack.OpUp, "net")
		p.carries(t, "new key")

		// The old key is struck off.
		p.east.write(setup + rsaTunnel("net", after, east, "auto=add", v1))
		if err := p.east.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.west.must(whack.OpDown, "net")
		p.west.must(whack.OpUp, "net")
		p.carries(t, "only the new key")
	})
}

// A key that is not among those that the peer knows is refused, one or two.
func TestUnknownKeyIsRefused(t *testing.T) {
	keys := hostKeys()
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.secrets, p.east.secrets = keys[2].secret, keys[1].secret
		p.west.start(setup + rsaTunnel("net", keys[2], keys[1], "auto=add", "keyingtries=1"))
		p.east.start(setup + rsaTunnel("net", keys[0], keys[1], "auto=add", "leftrsasigkey2="+keys[1].public))
		if _, final := p.west.do(whack.OpUp, "net"); final.Exit != whack.ExitAuth {
			t.Errorf("%+v", final)
		}
	})
}

// keysOf lists the session keys of every SA that a gateway has ever had.
func (g *gateway) keysOf() [][]byte {
	g.plane.mu.Lock()
	defer g.plane.mu.Unlock()
	var keys [][]byte
	for _, sa := range g.plane.made {
		for _, k := range []ipsec.Secret{sa.EncrKey, sa.IntegKey} {
			if k.Len() > 0 {
				keys = append(keys, k.Bytes())
			}
		}
	}
	return keys
}

// The daemon keeps no key of an SA: what it had is zeros as soon as the data plane
// has taken it. adversary.md CRY-28.
func TestKeysAreWipedWhenInstalled(t *testing.T) {
	for _, version := range []string{"ikev1", "ikev2"} {
		inBubble(t, func(t *testing.T, p *pair) {
			lines := []string{"auto=add", "keyexchange=" + version, "esp=aes256-sha2_256"}
			p.west.start(setup + tunnel("net", lines...))
			p.east.start(setup + tunnel("net", lines...))
			p.west.must(whack.OpUp, "net")
			for _, g := range []*gateway{p.west, p.east} {
				g.plane.mu.Lock()
				for i, sa := range g.plane.handed {
					for _, k := range []ipsec.Secret{sa.EncrKey, sa.IntegKey} {
						if k.Len() != 32 || !bytes.Equal(k.Bytes(), make([]byte, 32)) {
							t.Errorf("%s: %s still has its key", version, sa.ID)
						}
					}
					if bytes.Equal(g.plane.made[i].EncrKey.Bytes(), make([]byte, 32)) {
						t.Errorf("%s: %s had no key", version, sa.ID)
					}
				}
				if len(g.plane.handed) != 2 {
					t.Errorf("%s: %d SAs", version, len(g.plane.handed))
				}
				g.plane.mu.Unlock()
			}
		})
	}
}

// R7.1: one secret, many SAs: no two keys have anything in common with each
// other or with the secret, in either version of IKE.
func TestKeysOfOneSecret(t *testing.T) {
	for _, version := range []string{"ikev1", "ikev2"} {
		inBubble(t, func(t *testing.T, p *pair) {
			lines := []string{"auto=add", "keyexchange=" + version, "esp=aes256-sha2_256"}
			p.west.start(setup + tunnel("net", lines...))
			p.east.start(setup + tunnel("net", lines...))
			for range 5 {
				p.west.must(whack.OpUp, "net")
				p.west.must(whack.OpDown, "net")
			}
			keys := p.west.keysOf()
			if len(keys) != 5*2*2 {
				t.Fatalf("%d keys of 5 pairs", len(keys))
			}
			for i, k := range keys {
				if strings.Contains(goodSecret, string(k[:8])) {
					t.Errorf("key %d is part of the secret", i)
				}
				for _, other := range keys[:i] {
					if bytes.Contains(other, k[:8]) || bytes.Contains(k, other[:8]) {
						t.Errorf("keys %x and %x have octets in common", k, other)
					}
				}
			}
		})
	}
}

// R12.12: ikelifetime=, keylife= and rekeymargin= say when keys change.
func TestLifetimes(t *testing.T) {
	for _, x := range []struct {
		lines       []string
		child, ike  time.Duration // that the first of each kind is replaced after
		childWindow time.Duration // by which it may be earlier
	}{
		{[]string{"keylife=1h", "rekeymargin=10m", "rekeyfuzz=0%", "ikelifetime=24h"}, 50 * time.Minute, 0, 0},
		{[]string{"keylife=30m", "rekeymargin=10m", "rekeyfuzz=0%", "ikelifetime=24h"}, 20 * time.Minute, 0, 0},
		{[]string{"keylife=1h", "rekeymargin=3m", "rekeyfuzz=0%", "ikelifetime=24h"}, 57 * time.Minute, 0, 0},
		{[]string{"keylife=1h", "rekeymargin=10m", "rekeyfuzz=100%", "ikelifetime=24h"}, 50 * time.Minute, 0, 10 * time.Minute},
		{[]string{"keylife=8h", "rekeymargin=10m", "rekeyfuzz=0%", "ikelifetime=1h"}, 0, 50 * time.Minute, 0},
		// The window of the old manual is the margin by another name.
		{[]string{"keylife=1h", "rekeywindow=10m", "rekeyfuzz=0%", "ikelifetime=24h"}, 50 * time.Minute, 0, 0},
	} {
		inBubble(t, func(t *testing.T, p *pair) {
			// The peer's own limits come later, so that it is west that acts.
			p.east.start(setup + tunnel("net", "auto=add", "keylife=20h", "ikelifetime=20h"))
			p.west.start(setup + tunnel("net", append(x.lines, "auto=add")...))
			p.west.must(whack.OpUp, "net")
			began := time.Now()
			changed := func(what, first string) time.Duration {
				for p.west.states(first) != 0 {
					if time.Since(began) > 4*time.Hour {
						t.Fatalf("%v: no %s within four hours", x.lines, what)
					}
					time.Sleep(10 * time.Second)
				}
				return time.Since(began).Round(time.Minute)
			}
			if x.child != 0 {
				if got := changed("new keys", "newest IPsec SA: #2;"); got > x.child || got < x.child-x.childWindow {
					t.Errorf("%v: the IPsec SA was replaced after %v, not %v", x.lines, got, x.child)
				}
			}
			if x.ike != 0 {
				if got := changed("a new IKE SA", "newest ISAKMP SA: #1;"); got != x.ike {
					t.Errorf("%v: the IKE SA was replaced after %v, not %v", x.lines, got, x.ike)
				}
			}
			p.carries(t, "afterwards")
		})
	}
}

// R7.8: four gateways, of which each holds the secrets of its own three pairs,
// are three connections each here: west knows none of the other pairs' secrets
// and east none of west's with third parties, and nothing else serves.
func TestSecretsOfPairs(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		secret := func(a, b string) string {
			return fmt.Sprintf("@%s @%s : PSK \"the secret of %s and %s, long enough\"\n", a, b, a, b)
		}
		p.west.secrets = secret("west", "east") + secret("west", "north") + secret("west", "south")
		p.east.secrets = secret("west", "east") + secret("east", "north") + secret("east", "south")
		p.west.start(setup + tunnel("mine", "auto=add") + tunnel("posing", "leftid=@north", "auto=add", "keyingtries=1"))
		p.east.start(setup + tunnel("mine", "auto=add") + tunnel("north", "leftid=@north", "auto=add"))
		p.west.must(whack.OpUp, "mine")
		if _, final := p.west.do(whack.OpUp, "posing"); final.Exit != whack.ExitAuth {
			t.Errorf("west as north: %+v", final)
		}
		p.carries(t, "of the pair")
	})
}

// R9.5: two peers of one name by one secret. What uniqueids= says of it, seen
// from the hub, is in package connection; here the words of the file arrive.
func TestUniqueIDsOfTheFile(t *testing.T) {
	for _, mode := range []string{"yes", "no", "keep", "never", "replace"} {
		inBubble(t, func(t *testing.T, p *pair) {
			p.west.start(setup + "\tuniqueids=" + mode + "\n" + tunnel("net", "auto=add"))
			p.east.start(setup + "\tuniqueids=" + mode + "\n" + tunnel("net", "auto=add"))
			p.west.must(whack.OpUp, "net")
			p.carries(t, "uniqueids="+mode)
			views := p.west.table.Views()
			if i := slices.Index([]string{"yes", "no", "keep", "never", "replace"}, mode); int(views[0].Unique) != i%4 {
				t.Errorf("uniqueids=%s is %d", mode, views[0].Unique)
			}
			synctest.Wait()
		})
	}
}

// R12.20: a class of debugging that somebody else can make talk is bounded, and
// what it left out is counted; other classes are not affected.
func TestDebuggingIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.east.start(setup + "\tplutodebug=\"raw control\"\n" + tunnel("net", "auto=add"))
		p.west.start(setup + tunnel("net", "auto=add"))
		for i := range 5000 {
			p.wires[0].Memory.SendIKE(netip.AddrPortFrom(westAddr, 500), netip.AddrPortFrom(eastAddr, 500), fmt.Appendf(nil, "no message of IKE %d", i))
			synctest.Wait()
		}
		count := func() int { return strings.Count(p.east.log.String(), "| *received") }
		if n := count(); n != debugBurst {
			t.Errorf("%d lines of 5000 in a moment, not %d", n, debugBurst)
		}
		p.east.call(t.Context(), func() { p.east.debugf("control", "| something else") })
		if !strings.Contains(p.east.log.String(), "| something else") {
			t.Error("another class is silenced too")
		}
		time.Sleep(time.Second)
		p.west.must(whack.OpUp, "net")
		if n := count(); n <= debugBurst || !strings.Contains(p.east.log.String(), "| 4000 lines of debugging class raw were left out") {
			t.Errorf("a second later: %d lines, and no word of those left out", n)
		}
	})
}

// R1.8: a gateway with a thousand connections, of which five hundred are for
// road warriors with RSA keys, who all call at once; and all of them come up.
// (The road warriors are one daemon with five hundred addresses, and their keys
// are of three makes: what is tested is the gateway.)
func TestManyRoadWarriors(t *testing.T) {
	const roads = 500
	keys := hostKeys()
	synctest.Test(t, func(t *testing.T) {
		addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, byte(113 + i/250), byte(1 + i%250)}) }
		var theirs []netip.Addr
		hub, road := setup, "version 2.0\nconfig setup\n\tinterfaces=ipsec0=eth0\n"
		index := make([]string, len(keys))
		for i := range roads {
			theirs = append(theirs, addr(i))
			k := keys[1+i%2]
			common := fmt.Sprintf("\tauthby=rsasig\n\tleft=192.0.2.1\n\tleftid=@west\n\tleftsubnet=10.1.0.0/24\n\tleftrsasigkey=%s\n\trightid=@road%d\n\trightrsasigkey=%s\n\tauto=add\n", keys[0].public, i, k.public)
			hub += fmt.Sprintf("conn road%d\n\tright=%%any\n%sconn other%d\n\tauthby=secret\n\tleft=192.0.2.1\n\tright=198.51.100.1\n\trightsubnet=10.%d.%d.0/24\n\tauto=add\n", i, common, i, 100+i/250, i%250)
			road += fmt.Sprintf("conn road%d\n\tright=%s\n%s", i, addr(i), common)
			index[1+i%2] += fmt.Sprintf("@road%d ", i)
		}
		wa, wb := underlay.NewPair([]netip.Addr{westAddr}, theirs)
		p := &pair{west: newGateway(t, "west", westAddr, wa), east: newGateway(t, "roads", addr(0), wb)}
		for _, a := range theirs[1:] {
			p.east.machine.Links[0].Addrs = append(p.east.machine.Links[0].Addrs, netip.PrefixFrom(a, 32))
		}
		defer func() {
			for _, g := range []*gateway{p.west, p.east} {
				g.stop()
				g.plane.Close()
			}
		}()
		p.west.secrets, p.east.secrets = keys[0].secret, index[1]+keys[1].secret+index[2]+keys[2].secret
		p.west.start(hub)
		p.east.start(road)
		if n := len(p.west.table.Views()); n != 2*roads {
			t.Fatalf("%d connections are loaded, not %d", n, 2*roads)
		}
		for i := range roads {
			p.east.Do(t.Context(), whack.Request{Op: whack.OpUp, Args: whack.Args{Name: fmt.Sprint("road", i), Async: true}}, nil)
		}
		until(t, "all road warriors", 5*time.Minute, func() bool { return len(p.west.plane.SAs()) == 2*roads })
		if n := p.west.states(established); n != roads {
			t.Errorf("%d of %d tunnels are up", n, roads)
		}
		p.east.send(addr(roads-1), netip.MustParseAddr("10.1.0.10"), "from the last of them")
		if got := p.west.got(); !slices.Equal(got, []string{"from the last of them"}) {
			t.Errorf("west got %q", got)
		}
	})
}

// R1.8: loading and showing ten times as many connections costs about ten times
// as much, not a hundred times: counted in memory taken, which is the same on
// every machine.
func TestCostOfManyConnections(t *testing.T) {
	cost := func(n int) (octets uint64) {
		inBubble(t, func(t *testing.T, p *pair) {
			text := setup
			for i := range n {
				text += tunnel(fmt.Sprint("c", i), fmt.Sprintf("rightsubnet=10.%d.%d.0/24", 2+i/250, i%250), "auto=route")
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p.west.start(text)
			p.west.must(whack.OpStatus, "")
			runtime.ReadMemStats(&after)
			octets = after.TotalAlloc - before.TotalAlloc
		})
		return octets
	}
	few, many := cost(100), cost(1000)
	if ratio := float64(many) / float64(few); ratio > 15 { // n log n: 10 log 1000 / log 100 = 15
		t.Errorf("100 connections take %d octets, 1000 take %d: %.1f times as much", few, many, ratio)
	}
}
