package sim

import (
	"crypto/ed25519"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
)

var meshSize = flag.Int("mesh", 60, "gateways of the full mesh")

// mesh is a full mesh of gateways, each with a key of its own that all others
// know.
func mesh(seed uint64, size int) *World {
	w := New(seed)
	w.Trace.Quiet, w.Net.record = true, nil
	w.Net.IKE, w.Net.Data = Faults{Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond}, Faults{Delay: 10 * time.Millisecond}
	keys := map[*Node][]ike.PublicKey{}
	for i := range size {
		n := w.Add(fmt.Sprintf("g%d", i), fmt.Sprintf("198.18.%d.%d", i/250, 1+i%250), IKEv2)
		seed := [ed25519.SeedSize]byte{byte(i), byte(i >> 8), 1}
		n.Keys.private = ed25519.NewKeyFromSeed(seed[:])
		keys[n] = []ike.PublicKey{{Key: n.Keys.private.Public(), Origin: "ipsec.conf"}}
	}
	pubkey := []ike.AuthMethod{ike.AuthPubkey}
	for i, a := range w.nodes {
		for j, b := range w.nodes[:i] {
			w.Tunnel(fmt.Sprintf("%s-%s", b.Name, a.Name), b, a, inner(j), inner(i), func(n *Node, d *connection.Description) {
				peer := a
				if n == a {
					peer = b
				}
				d.Local.Auth, d.Remote.Auth, d.Remote.Keys = pubkey, pubkey, keys[peer]
				d.PFS, d.ESP = false, espWithoutPFS
			})
		}
	}
	return w
}

var espWithoutPFS = noPFS(espProposals)

func inner(i int) string { return fmt.Sprintf("10.%d.%d.0/24", i/250, i%250) }

// Every path of a full mesh of gateways with raw public keys is established on
// demand, by its first packet; then all IKE SAs and Child SAs of a part of them
// are rekeyed. Every rule holds throughout. For a thousand gateways:
//
//	go test ./internal/sim -run Mesh -mesh 1000 -timeout 0 -v
func TestMesh(t *testing.T) {
	size := *meshSize
	if testing.Short() {
		size = min(size, 12)
	}
	begin := time.Now()
	w := mesh(1, size)
	for _, tunnel := range w.tunnels {
		tunnel.A.Route(tunnel.Name)
	}
	configured, before := time.Since(begin), heapNow()
	begin = time.Now()
	for i, tunnel := range w.tunnels { // one after another, four to a millisecond
		w.At(w.Elapsed()+time.Duration(i)*250*time.Microsecond, func() { tunnel.A.Ping(tunnel.flowOf(tunnel.A)) })
	}
	w.Run(time.Duration(len(w.tunnels))*250*time.Microsecond + 30*time.Second)
	for _, tunnel := range w.tunnels {
		if !tunnel.Secured() {
			t.Fatalf("%s is not up", tunnel.Name)
		}
	}
	established := time.Since(begin)
	if n := len(w.tunnels); w.Stats.DataDelivered != n || w.Stats.Handshakes != 2*n {
		t.Errorf("%d paths: %d packets came, %d ends of IKE SAs were made", n, w.Stats.DataDelivered, w.Stats.Handshakes)
	}
	after := heapNow()

	begin = time.Now()
	rekeyed := 0
	for i := 0; i < len(w.tunnels); i += max(1, len(w.tunnels)/2000) {
		tunnel := w.tunnels[i]
		tunnel.A.Rekey(tunnel.Name)
		tunnel.B.rekeyWith(tunnel.A)
		rekeyed++
	}
	w.Run(2 * time.Minute)
	if w.Stats.ChildRekeys != 2*rekeyed || w.Stats.IKERekeys != 2*rekeyed {
		t.Errorf("%d Child SAs and %d IKE SAs were rekeyed, of %d", w.Stats.ChildRekeys/2, w.Stats.IKERekeys/2, rekeyed)
	}
	for i := 0; i < len(w.tunnels); i += max(1, len(w.tunnels)/500) {
		if err := w.Carries(w.tunnels[i]); err != nil {
			t.Error(err)
		}
	}
	for _, b := range w.Breaches[:min(5, len(w.Breaches))] {
		t.Error(b)
	}
	t.Logf("%d gateways, %d connections configured in %.1f s, all established on demand in %.1f s (%.0f/s), %d paths rekeyed in %.1f s; heap %.0f MiB configured, %.0f MiB established; %d exchanges, %.1f virtual minutes",
		size, len(w.tunnels), configured.Seconds(), established.Seconds(), float64(len(w.tunnels))/established.Seconds(), rekeyed, time.Since(begin).Seconds(),
		float64(before)/(1<<20), float64(after)/(1<<20), w.Stats.Exchanges, w.Elapsed().Minutes())
}

func heapNow() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// rekeyWith replaces the IKE SA that the node has with a peer.
func (n *Node) rekeyWith(peer *Node) {
	for _, h := range slices.Clone(n.machines) {
		i, r := h.SPIs()
		if peer.partner(i, r) {
			n.later(func() { n.step(h, ike.Rekey{}) })
		}
	}
	n.drain()
}

// The addresses of a large mesh are all different.
func TestMeshAddresses(t *testing.T) {
	seen := map[netip.Prefix]bool{}
	for i := range 1000 {
		p := netip.MustParsePrefix(inner(i))
		if seen[p] || p.Masked() != p {
			t.Errorf("%s for gateway %d", p, i)
		}
		seen[p] = true
	}
}
