package sim

import (
	"flag"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

var meshSize = flag.Int("mesh", 40, "gateways of the full mesh")

// Every path of a full mesh of gateways with raw public keys is established on
// demand, by its first packet; then all IKE SAs and all Child SAs are rekeyed, and
// every path carries packets both ways. Every rule holds throughout. For a thousand
// gateways, which takes 21 GB of memory:
//
//	go test ./internal/sim -run 'TestMesh$' -mesh 1000 -timeout 0 -v
func TestMesh(t *testing.T) {
	size := *meshSize
	if testing.Short() {
		size = min(size, 12)
	}
	if size > 300 {
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(20 << 30)) // time is cheaper then
	}
	begin := time.Now()
	said := begin
	m, err := NewMesh(1, size, func(stage string, done int) {
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			t.Logf("%5.0f s: %d paths %s", time.Since(begin).Seconds(), done, stage)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	tell := func(what string, since time.Time) {
		t.Logf("%s in %.1f s; heap %.0f MiB", what, time.Since(since).Seconds(), float64(heapNow())/(1<<20))
	}
	tell("configured", begin)
	for _, stage := range m.Stages() {
		since := time.Now()
		if err := stage.Do(); err != nil {
			t.Fatalf("%s: %v", stage.Name, err)
		}
		tell(stage.Name, since)
	}
	s, n := m.Stats, m.Paths()
	if s.Failures != 0 || s.DataLost != 0 {
		t.Errorf("on a wire without faults: %+v", s)
	}
	t.Logf("%d gateways, %d paths: %d handshakes, %d IKE SAs and %d Child SAs rekeyed, %d exchanges, %d packets, %.1f virtual minutes, %.0f s, 0 violations",
		size, n, s.Handshakes/2, s.IKERekeys/2, s.ChildRekeys/2, s.Exchanges, s.DataDelivered, m.Elapsed().Minutes(), time.Since(begin).Seconds())
}

// The checks of a mesh see what is wrong with it.
func TestMeshSees(t *testing.T) {
	for _, c := range []struct {
		fault func(m *Mesh)
		want  string
	}{
		{func(m *Mesh) { m.tunnels[0].B.Crash() }, "is not up"},
		{func(m *Mesh) { m.Net.Data.Loss = 1 }, "6 paths: 0 packets came"},
		{func(m *Mesh) { m.tunnels[2].A.Up(m.tunnels[2].Name); m.Run(time.Second) }, "10 ends of IKE SAs were made"},
	} {
		m, err := NewMesh(1, 4, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.fault(m)
		if err := m.Establish(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	m, _ := NewMesh(1, 4, nil)
	if err := m.Rekey(); err == nil {
		t.Error("what was never up was rekeyed")
	}
	for _, size := range []int{-1, 1, maxMesh + 1} {
		if _, err := NewMesh(1, size, nil); err == nil {
			t.Errorf("a mesh of %d gateways was made", size)
		}
	}
}

func heapNow() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// The addresses of a large mesh are all different.
func TestMeshAddresses(t *testing.T) {
	seen := map[netip.Prefix]bool{}
	for i := range maxMesh {
		p := netip.MustParsePrefix(meshNet(i))
		if seen[p] || p.Masked() != p {
			t.Errorf("%s for gateway %d", p, i)
		}
		seen[p] = true
	}
}
