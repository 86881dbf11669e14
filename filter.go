package cygnet

import (
	"log/slog"
	"os"
	"strings"

	"cygnet/internal/firewall"
)

// newFilter opens the machine's packet filter. A kernel without nftables has
// none that we could use: leftfirewall= opens nothing there, and what arrives
// in the clear is left to others.
func newFilter(log *slog.Logger) firewall.Firewall {
	f, err := firewall.New(firewall.Options{})
	if err != nil {
		if log != nil {
			log.Warn("no packet filter: leftfirewall= and inbound-clear= have no effect: " + err.Error())
		}
		return nil
	}
	return f
}

func closeFilter(f firewall.Firewall) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// scriptEnv is what the ipsec command needs in a script to find this gateway
// among several on one machine.
func scriptEnv() []string {
	var env []string
	for _, e := range os.Environ() {
		for _, name := range []string{"IPSEC_CONFS=", "IPSEC_RUNDIR=", "IPSEC_STATEDIR="} {
			if strings.HasPrefix(e, name) {
				env = append(env, e)
			}
		}
	}
	return env
}
