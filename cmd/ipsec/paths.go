package main

import (
	"cmp"
	"os"
	"path/filepath"
)

// places are the three directories that make one gateway of many on a machine.
type places struct {
	conf  string // ipsec.conf, ipsec.secrets, ipsec.d/
	run   string // pluto.ctl, pluto.pid
	state string // what outlives a boot
}

// where reads the environment: IPSEC_CONFS, IPSEC_RUNDIR, IPSEC_STATEDIR.
func where() places {
	return places{
		conf:  cmp.Or(os.Getenv("IPSEC_CONFS"), "/etc"),
		run:   cmp.Or(os.Getenv("IPSEC_RUNDIR"), "/run/pluto"),
		state: cmp.Or(os.Getenv("IPSEC_STATEDIR"), "/var/lib/ipsec"),
	}
}

func (p places) confFile() string { return filepath.Join(p.conf, "ipsec.conf") }
func (p places) secrets() string  { return filepath.Join(p.conf, "ipsec.secrets") }
func (p places) socket() string   { return filepath.Join(p.run, "pluto.ctl") }
func (p places) infoFile() string { return filepath.Join(p.run, "ipsec.info") }
func (p places) pidFile() string  { return filepath.Join(p.run, "pluto.pid") }
