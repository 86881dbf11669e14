package cygnet

import (
	"path/filepath"

	"cygnet/internal/leases"
	"cygnet/internal/nameserver"
	"cygnet/internal/pluto"
)

// openLeases returns what opens the file of leases; nil where none is kept.
func openLeases(o Options) func() (pluto.Leases, error) {
	if o.StateDir == "" {
		return nil
	}
	return func() (pluto.Leases, error) {
		return leases.Open(filepath.Join(o.StateDir, "leases.db"), func(err error) { complain(o, err) })
	}
}

// newNameServers tells this machine's resolver what connections bring. Without
// a RunDir nothing is written, and the resolver is an embedder's affair.
func newNameServers(o Options) func(devices []string) pluto.NameServers {
	if o.RunDir == "" {
		return nil
	}
	return func(devices []string) pluto.NameServers {
		return nameserver.New(nameserver.Options{
			File: filepath.Join(o.RunDir, "resolv.conf"), Resolvectl: nameserver.Resolvectl(),
			Failed: func(err error) { complain(o, err) },
		}, devices)
	}
}

func complain(o Options, err error) {
	if o.Log != nil {
		o.Log.Error(err.Error())
	}
}
