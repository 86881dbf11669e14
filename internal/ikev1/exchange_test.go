package ikev1

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// The classic lines and codes of freeswan.md 6.4, in order.
func TestUpWithPSK(t *testing.T) {
	p := newPair(t, 1)
	p.up()
	codes := func(n *node) (out []int) {
		for _, r := range n.reports {
			switch f := r.Fact.(type) {
			case ike.State:
				out = append(out, f.Code)
			case ike.IKEUp, ike.ChildUp:
				out = append(out, 4)
			default:
				if _, note := f.(ike.Note); !note {
					t.Errorf("unexpected %T: %v", f, f)
				}
			}
		}
		return out
	}
	if got := codes(p.west); !slices.Equal(got, []int{104, 106, 108, 4, 112, 4}) {
		t.Errorf("west's codes: %v\n%s", got, p)
	}
	if got := codes(p.east); !slices.Equal(got, []int{105, 107, 4, 113, 4}) {
		t.Errorf("east's codes: %v\n%s", got, p)
	}
	for _, text := range []string{
		"initiating Main Mode", "STATE_MAIN_I1: sent MI1, expecting MR1", "STATE_MAIN_I2: sent MI2, expecting MR2",
		"STATE_MAIN_I3: sent MI3, expecting MR3", "Peer ID is ID_FQDN: '@east'", "STATE_MAIN_I4: ISAKMP SA established",
		"initiating Quick Mode PSK+ENCRYPT+TUNNEL+PFS+UP {using isakmp#1}", "STATE_QUICK_I1: sent QI1, expecting QR1",
		"STATE_QUICK_I2: IPsec SA established tunnel mode {ESP=>0x",
	} {
		if !p.west.said(text) {
			t.Errorf("west does not say %q\n%s", text, p)
		}
	}
	for _, text := range []string{"responding to Main Mode", "STATE_MAIN_R3: ISAKMP SA established", "responding to Quick Mode", "STATE_QUICK_R2: IPsec SA established"} {
		if !p.east.said(text) {
			t.Errorf("east does not say %q\n%s", text, p)
		}
	}
	if len(p.sent) != 9 {
		t.Errorf("%d messages", len(p.sent))
	}
	up := facts[ike.IKEUp](p.east)
	if len(up) != 1 || !up[0].InitialContact || up[0].RemoteID != mustID("@west") || up[0].Encap {
		t.Errorf("%+v", up)
	}
	for _, n := range []*node{p.west, p.east} {
		c := facts[ike.ChildUp](n)
		if len(c) != 1 || !c[0].Use || c[0].Initiator != (n == p.west) || c[0].IKE != 1 || n.plane[c[0].In].Dir != ipsec.In || n.plane[c[0].Out].Dir != ipsec.Out {
			t.Errorf("%s: %+v", n.name, c)
		}
		if got := n.plane[c[0].In].Selectors; len(got) != 1 {
			t.Errorf("%s: selectors %v", n.name, got)
		}
	}
}

// freeswan.md 6.4: what is installed before what is sent.
func TestOrderOfInstalling(t *testing.T) {
	p := newPair(t, 2)
	p.up()
	w, e := strings.Join(p.west.order, ", "), strings.Join(p.east.order, ", ")
	if w != "send, send, send, send, install in, install out, send" {
		t.Errorf("west: %s", w)
	}
	if e != "send, send, send, install in, send, install out" {
		t.Errorf("east: %s", e)
	}
}

func TestUpWithRSA(t *testing.T) {
	p := newPair(t, 3)
	p.useRSA()
	p.up()
	if !p.west.said("initiating Quick Mode RSASIG+ENCRYPT+TUNNEL+PFS+UP") {
		t.Error(p)
	}
}

// Every way of protecting that freeswan.md 6.3 lists.
func TestSuites(t *testing.T) {
	free := func(c *ike.Conn) { c.IKE, c.ESP = suite.FreeSWANIKE(), suite.FreeSWANESP(true) }
	ah := parsed(suite.ParseAH, "md5,sha1")
	for _, test := range []struct {
		name   string
		change func(*ike.Conn)
		text   string // in the report
		sas    int    // pairs in the data plane
	}{
		{"FreeS/WAN", free, "3DES_CBC/HMAC_MD5_96/MODP_1536", 1},
		{"FreeS/WAN without PFS", func(c *ike.Conn) { free(c); c.PFS = false }, "3DES_CBC/HMAC_MD5_96", 1},
		{"AES-GCM", func(c *ike.Conn) { c.ESP = withKE(parsed(suite.ParseESP, "aes_gcm256"), 14) }, "AES_GCM_16_256/MODP_2048", 1},
		{"AES-128 and SHA-1", func(c *ike.Conn) {
			c.IKE, c.ESP = parsed(suite.ParseIKE, "aes128-sha1-modp2048"), withKE(parsed(suite.ParseESP, "aes128-sha1"), 14)
		}, "AES_CBC_128/HMAC_SHA1_96", 1},
		{"SHA-512 and P-384", func(c *ike.Conn) {
			c.IKE, c.ESP = parsed(suite.ParseIKE, "aes256-sha2_512-ecp384"), withKE(parsed(suite.ParseESP, "aes256-sha2_512"), 20)
		}, "AES_CBC_256/HMAC_SHA2_512_256/ECP_384", 1},
		{"defaults", func(c *ike.Conn) { c.IKE, c.ESP = suite.DefaultIKE(), suite.DefaultESP(true) }, "AES_GCM_16_256/ECP_256", 1},
		{"NULL", func(c *ike.Conn) { c.ESP = withKE(parsed(suite.ParseESP, "null-sha2_256"), 14) }, "NULL/HMAC_SHA2_256_128", 1},
		{"AH", func(c *ike.Conn) { c.ESP = withKE(parsed(suite.ParseAH, "sha1"), 14) }, "HMAC_SHA1_96/MODP_2048", 1},
		{"AH around ESP", func(c *ike.Conn) {
			free(c)
			c.AH = ah
			c.ESP[0].Integ = nil
		}, "HMAC_MD5_96/MODP_1536+3DES_CBC", 2},
		{"IPComp", func(c *ike.Conn) { c.Compress = true }, "+DEFLATE", 2},
		{"all three", func(c *ike.Conn) { free(c); c.AH, c.Compress = ah, true }, "+DEFLATE", 3},
		{"bytes", func(c *ike.Conn) { c.LifeBytes = 1 << 40 }, "AES_CBC_256", 1},
		{"long lives", func(c *ike.Conn) { c.IKELife, c.ChildLife = 24*time.Hour, 24*time.Hour }, "AES_CBC_256", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPair(t, 4)
			p.both(test.change)
			w := p.west.initiate()
			p.settle()
			if w.state != stateUp {
				t.Fatal(p)
			}
			p.check(test.sas)
			up := facts[ike.ChildUp](p.west)
			if len(up) != 1 || !strings.Contains(up[0].Suite, test.text) {
				t.Fatalf("%+v\n%s", up, p)
			}
			if len(up[0].OutBundle) != test.sas && test.sas > 1 {
				t.Errorf("bundle %v", up[0].OutBundle)
			}
			for id, sa := range p.west.plane {
				if sa.Transform.Encr == 3 && (sa.Life.HardBytes == 0 || sa.Life.HardBytes > 1<<30) {
					t.Errorf("%s: 3DES for %d octets", id, sa.Life.HardBytes)
				}
			}
		})
	}
}

// A peer's compressed offer is taken whatever compress= says here; without
// bundles in the data plane it is not.
func TestCompressionIsThePeersWish(t *testing.T) {
	p := newPair(t, 5)
	p.west.conns[0].Compress = true
	p.west.initiate()
	p.settle()
	p.check(2)

	p = newPair(t, 6)
	p.west.conns[0].Compress = true
	p.east.cfg.Bundles = false
	p.west.initiate()
	p.settle()
	p.check(1) // the second proposal
}

func TestHostsAndTransport(t *testing.T) {
	for _, mode := range []ipsec.Mode{ipsec.Tunnel, ipsec.Transport} {
		p := newPair(t, 7)
		p.west.conns[0] = connection("hosts", p.west, p.east, "", "")
		p.east.conns[0] = connection("hosts", p.east, p.west, "", "")
		p.both(func(c *ike.Conn) { c.Mode = mode })
		w, _ := p.up()
		for _, q := range w.quicks {
			if len(q.ids) != 0 { // freeswan.md 6.1: absent means host to host
				t.Errorf("%s mode: client IDs", mode)
			}
		}
		for _, sa := range p.west.plane {
			if sa.Mode != mode {
				t.Errorf("SA in %s mode, want %s", sa.Mode, mode)
			}
		}
	}
	// Transport mode for nets makes no sense and is not asked for.
	p := newPair(t, 8)
	p.both(func(c *ike.Conn) { c.Mode = ipsec.Transport })
	p.west.initiate()
	p.settle()
	if why := p.west.failure(); why.Reason != ike.ReasonTS {
		t.Errorf("%+v", why)
	}
}

// R4.8: with pfs=no there is no KE in Quick Mode, with pfs=yes one is demanded,
// and a peer that wants PFS gets it from one that does not ask for it.
func TestPFS(t *testing.T) {
	p := newPair(t, 9)
	p.east.conns[0].PFS = false
	p.up()
	if !p.east.said("MODP_2048}") {
		t.Error(p)
	}
	p = newPair(t, 10)
	p.west.conns[0].PFS = false
	p.west.initiate()
	p.settle()
	if why := p.west.failure(); why.Reason != ike.ReasonProposal || !why.ByPeer {
		t.Errorf("%+v", why)
	}
	if !p.east.said("we require PFS but Quick I1 SA specifies no GROUP_DESCRIPTION") {
		t.Error(p)
	}
}

// R1.5: many connections, one ISAKMP SA.
func TestManyConnections(t *testing.T) {
	p := newPair(t, 11)
	for i := range 70 {
		l, r := "192.168.100.0/24", fmt.Sprintf("10.1.%d.0/24", i)
		p.west.conns = append(p.west.conns, connection("c"+r, p.west, p.east, l, r))
		p.east.conns = append(p.east.conns, connection("c"+r, p.east, p.west, r, l))
	}
	w := p.west.initiate()
	for _, c := range p.west.conns[1:] {
		p.west.step(w, ike.AddChild{Conn: c})
	}
	p.settle()
	p.check(71)
	if up := facts[ike.IKEUp](p.west); len(up) != 1 {
		t.Errorf("%d ISAKMP SAs", len(up))
	}
	if len(facts[ike.Failed](p.west)) > 0 {
		t.Error(p)
	}
}

func TestNAT(t *testing.T) {
	for name, change := range map[string]func(*pair){
		"PSK": func(*pair) {}, "RSA": (*pair).useRSA,
	} {
		p := newPair(t, 12)
		p.useNAT()
		change(p)
		w, e := p.up()
		if !w.natLocal || w.natRemote || e.natLocal || !e.natRemote {
			// encap=auto also says that there is a NAT before the sender
			if !w.natLocal || !e.natRemote {
				t.Errorf("%s: west %t/%t, east %t/%t", name, w.natLocal, w.natRemote, e.natLocal, e.natRemote)
			}
		}
		if w.local.Port() != 4500 || w.remote.Port() != 4500 || e.remote.Port() != 24500 || e.local.Port() != 4500 {
			t.Errorf("%s: west %s to %s, east %s to %s", name, w.local, w.remote, e.local, e.remote)
		}
		for id, sa := range p.east.plane {
			if sa.Encap != (ipsec.Encap{LocalPort: 4500, RemotePort: 24500}) {
				t.Errorf("%s: %s in %+v", name, id, sa.Encap)
			}
		}
		if w.keepAliveAt.IsZero() {
			t.Errorf("%s: west keeps nothing alive", name)
		}
	}
}

// Encapsulation without a NAT is asked for by default, and not with encap=no.
func TestForcedEncapsulation(t *testing.T) {
	p := newPair(t, 13)
	p.west.conns[0].Encap = ike.Auto
	w, e := p.up()
	if !w.encap || !e.encap || w.local.Port() != 4500 || e.remote.Port() != 4500 {
		t.Error(p)
	}
	p = newPair(t, 14)
	w, e = p.up()
	if w.encap || e.encap || w.local.Port() != 500 {
		t.Error(p)
	}
}

func TestDownTellsThePeer(t *testing.T) {
	p := newPair(t, 15)
	w, _ := p.up()
	p.west.step(w, ike.Delete{})
	p.settle()
	p.check(0)
	p.pass(time.Hour)
	if len(p.west.machines)+len(p.east.machines) != 0 {
		t.Error(p)
	}
	if d := facts[ike.IKEDown](p.east); len(d) != 1 || !d[0].ByPeer {
		t.Errorf("%+v", d)
	}
	if d := facts[ike.ChildDown](p.east); len(d) != 1 || !d[0].ByPeer {
		t.Errorf("%+v", d)
	}
}

func TestDeleteOneChild(t *testing.T) {
	p := newPair(t, 16)
	w, e := p.up()
	p.west.step(w, ike.Delete{Child: w.children[0].serial})
	p.settle()
	p.check(0)
	if len(e.children) != 0 || e.state != stateUp || w.state != stateUp {
		t.Error(p)
	}
}
