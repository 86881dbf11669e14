package sim

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
)

// Mesh is a full mesh of gateways: each has a raw public key of its own that all
// others know, and a tunnel to each of them, which its first packet brings up. It
// shows what a gateway with very many tunnels costs.
type Mesh struct {
	*World
	stage func(what string, done int) // told of progress
}

// maxMesh is how many gateways have addresses and nets of their own.
const maxMesh = 16 * 1024

// NewMesh configures a mesh of at most maxMesh gateways and routes its tunnels. In
// all that follows, progress, if not nil, is told now and then how many paths a
// stage is through with.
func NewMesh(seed uint64, size int, progress func(stage string, done int)) (*Mesh, error) {
	if size < 2 || size > maxMesh {
		return nil, fmt.Errorf("a mesh of %d gateways: it has from 2 to %d", size, maxMesh)
	}
	if progress == nil {
		progress = func(string, int) {}
	}
	w := New(seed)
	w.Trace.Quiet, w.Net.record = true, nil
	w.Net.IKE, w.Net.Data = Faults{Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond}, Faults{Delay: 10 * time.Millisecond}
	m := &Mesh{w, progress}
	keys := make([][]ike.PublicKey, size)
	for i := range size {
		n := w.Add(fmt.Sprintf("g%d", i), fmt.Sprintf("198.18.%d.%d", i/250, 1+i%250), IKEv2)
		seed := [ed25519.SeedSize]byte{byte(i), byte(i >> 8), 1}
		n.Keys.private = ed25519.NewKeyFromSeed(seed[:])
		keys[i] = []ike.PublicKey{{Key: n.Keys.private.Public(), Origin: "ipsec.conf"}}
	}
	for i, a := range w.nodes {
		for j, b := range w.nodes[:i] {
			t := w.Tunnel(fmt.Sprintf("%s-%s", b.Name, a.Name), b, a, meshNet(j), meshNet(i), func(n *Node, d *connection.Description) {
				d.Local.Auth, d.Remote.Auth, d.Remote.Keys = byPubkey, byPubkey, keys[i]
				if n == a {
					d.Remote.Keys = keys[j]
				}
				d.PFS, d.ESP = false, espWithoutPFS
			})
			t.A.Route(t.Name)
		}
		m.stage("configured", len(w.tunnels))
	}
	return m, m.Failed()
}

var (
	byPubkey      = []ike.AuthMethod{ike.AuthPubkey}
	espWithoutPFS = noPFS(espProposals)
)

// meshNet is the net behind the gateway of that number.
func meshNet(i int) string { return fmt.Sprintf("10.%d.%d.0/24", i/250, i%250) }

// Paths is how many tunnels there are.
func (m *Mesh) Paths() int { return len(m.tunnels) }

// Failed is the first breach of a rule, or nil.
func (m *Mesh) Failed() error {
	if len(m.Breaches) > 0 {
		return fmt.Errorf("%d breaches of rules, the first %s", len(m.Breaches), m.Breaches[0])
	}
	return nil
}

// Establish sends a packet through each path, which brings it up. Every packet
// arrives.
func (m *Mesh) Establish() error {
	before := m.Stats
	m.each("established", 4, func(t *Tunnel) { t.A.Ping(t.flowOf(t.A)) })
	for _, t := range m.tunnels {
		if !t.Secured() {
			return fmt.Errorf("%q is not up", t.Name)
		}
	}
	n := m.Paths()
	if came, made := m.Stats.DataDelivered-before.DataDelivered, m.Stats.Handshakes-before.Handshakes; came != n || made != 2*n {
		return fmt.Errorf("%d paths: %d packets came, %d ends of IKE SAs were made", n, came, made)
	}
	return m.settled()
}

// Rekey replaces the Child SA of each path from one end and its IKE SA, at the same
// time, from the other.
func (m *Mesh) Rekey() error {
	before := m.Stats
	m.each("rekeyed", 1, func(t *Tunnel) {
		t.A.Rekey(t.Name)
		t.B.rekeyCarrier(t)
	})
	n := m.Paths()
	if c, i := m.Stats.ChildRekeys-before.ChildRekeys, m.Stats.IKERekeys-before.IKERekeys; c != 2*n || i != 2*n {
		return fmt.Errorf("%d paths: %d ends of Child SAs and %d of IKE SAs were rekeyed", n, c, i)
	}
	return m.settled()
}

// Carry sends a packet each way through each path. Every packet arrives.
func (m *Mesh) Carry() error {
	before := m.Stats
	m.each("used", 8, func(t *Tunnel) {
		for _, n := range []*Node{t.A, t.B} {
			n.Ping(t.flowOf(n))
		}
	})
	if n, came := 2*m.Paths(), m.Stats.DataDelivered-before.DataDelivered; came != n {
		return fmt.Errorf("%d packets sent, %d came", n, came)
	}
	return m.Failed()
}

// MeshStage is a part of what is done with a mesh.
type MeshStage struct {
	Name string
	Do   func() error
}

// Stages are the parts of a whole run, in order.
func (m *Mesh) Stages() []MeshStage {
	return []MeshStage{{"established", m.Establish}, {"rekeyed", m.Rekey}, {"used", m.Carry}}
}

// each does something to all tunnels, so many in a millisecond, and then lets what
// it has begun, and what is kept for a while of what it has replaced, come to its
// end.
func (m *Mesh) each(stage string, rate int, do func(*Tunnel)) {
	for i, t := range m.tunnels {
		do(t)
		if (i+1)%rate == 0 {
			m.Run(time.Millisecond)
		}
		if (i+1)%meshStep == 0 {
			m.stage(stage, i+1)
		}
	}
	m.Run(2 * time.Minute)
	m.stage(stage, len(m.tunnels))
}

// meshStep is after how many paths progress is told.
const meshStep = 1000

// settled checks what must hold at rest.
func (m *Mesh) settled() error {
	m.World.settled(m.tunnels)
	return m.Failed()
}

// rekeyCarrier replaces the IKE SA that a tunnel's Child SA in use rides on.
func (n *Node) rekeyCarrier(t *Tunnel) {
	p, ok := n.Plane.spd.find(t.flowOf(n))
	if !ok || len(p.Bundle) == 0 {
		n.world.breach("I10", "%s: %q has no SA to be replaced", n.Name, t.Name)
		return
	}
	if h := n.hosted(n.Table.Carrier(p.Bundle[0])); h != nil {
		n.later(func() { n.step(h, ike.Rekey{}) })
		n.drain()
	}
}
