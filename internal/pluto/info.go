package pluto

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// noteDefaults writes the facts about the default route to ipsec.info beside
// the control socket, for `ipsec showdefaults` and scripts (freeswan.md 4.19).
func (d *Daemon) noteDefaults() {
	if d.o.RunDir == "" {
		return
	}
	if err := os.WriteFile(d.infoFile(), []byte(d.defaults()), 0o644); err != nil {
		d.log.Error(err.Error())
	}
}

func (d *Daemon) infoFile() string { return filepath.Join(d.o.RunDir, "ipsec.info") }

func (d *Daemon) defaults() string {
	routes, err := d.o.Host.DefaultRoutes()
	if err != nil {
		d.log.Error(err.Error())
	}
	for _, r := range routes {
		for _, l := range d.links {
			if r.Device == "" || l.Physical != r.Device {
				continue
			}
			var b strings.Builder
			fmt.Fprintf(&b, "defaultroutephys=%s\ndefaultroutevirt=%s\ndefaultrouteaddr=%s\n", l.Physical, l.Virtual, r.Addr)
			if r.NextHop.IsValid() {
				fmt.Fprintf(&b, "defaultroutenexthop=%s\n", r.NextHop)
			}
			return b.String()
		}
	}
	return "#dr: no default route\n"
}

func (d *Daemon) forgetDefaults() {
	if d.o.RunDir != "" {
		os.Remove(d.infoFile())
	}
}
