package klips

import (
	"testing"
	"time"

	"cygnet/internal/ipsec/backendtest"
	"cygnet/internal/tun"
)

func TestBackend(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backendtest.Harness {
		g := newLab(t, Options{})
		return backendtest.Harness{
			Backend: g[0].Plane,
			Inject: func(t *testing.T, b []byte) {
				before := total(g[0])
				g[0].send(t, tun.Header{}, b)
				// Every packet ends as a drop, held ones too, or in clear.
				for deadline := time.Now().Add(50 * time.Millisecond); total(g[0]) == before && time.Now().Before(deadline); {
					time.Sleep(100 * time.Microsecond)
				}
			},
			Passed: func(*testing.T) []byte {
				select {
				case b := <-g[1].wire.Clear():
					return b
				case <-time.After(20 * time.Millisecond):
					return nil
				}
			},
		}
	})
}

func total(g *gateway) (n uint64) {
	for _, c := range g.Drops() {
		n += c.Count
	}
	return n
}
