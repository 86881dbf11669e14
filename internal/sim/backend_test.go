package sim

import (
	"testing"

	"cygnet/internal/ipsec/backendtest"
)

// The stand-in keeps the promises of the real data planes. What it does to
// packets is tested in plane_test.go, because its packets have no octets.
func TestPlaneIsABackend(t *testing.T) {
	backendtest.Run(t, func(*testing.T) backendtest.Harness {
		return backendtest.Harness{Backend: New(1).Add("west", "192.0.2.1", newToyEngine).Plane}
	})
}
