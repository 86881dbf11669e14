package pluto

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cygnet/internal/connection"
	"cygnet/internal/host"
)

// forwarding turns packet forwarding on if forwardcontrol= says so, and
// remembers to turn it off again (R12.6), also for a daemon that comes after a
// crash of this one.
func (d *Daemon) forwarding() {
	d.forwarded = d.turnedBefore()
	if !d.file.Setup.ForwardCtl {
		return
	}
	switches := []host.Switch{host.Forward4}
	if d.guards6() {
		switches = append(switches, host.Forward6)
	}
	for _, s := range switches {
		old, err := d.o.Host.Switch(s)
		if err != nil || old != "0" {
			continue
		}
		if !slices.Contains(d.forwarded, s) {
			d.forwarded = append(d.forwarded, s)
		}
		d.rememberForwarding()
		if err := d.o.Host.SetSwitch(s, "1"); err != nil {
			d.log.Error(err.Error())
		}
	}
}

// guards6 reports whether a connection protects an IPv6 network behind us.
func (d *Daemon) guards6() bool {
	return slices.ContainsFunc(d.table.Views(), func(v connection.View) bool {
		return v.Oriented && !v.Local.Host && len(v.Local.TS) > 0 && v.Local.TS[0].Start.Is6()
	})
}

// forwardingOff turns off what we have turned on.
func (d *Daemon) forwardingOff() {
	for _, s := range d.forwarded {
		if err := d.o.Host.SetSwitch(s, "0"); err != nil {
			d.log.Error(err.Error())
		}
	}
	d.forwarded = nil
	d.rememberForwarding()
}

func (d *Daemon) forwardingFile() string { return filepath.Join(d.o.RunDir, ForwardingFile) }

// rememberForwarding notes which switches are on because of us.
func (d *Daemon) rememberForwarding() {
	if d.o.RunDir == "" {
		return
	}
	var err error
	if len(d.forwarded) == 0 {
		if err = os.Remove(d.forwardingFile()); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		var b strings.Builder
		for _, s := range d.forwarded {
			fmt.Fprintln(&b, s)
		}
		err = os.WriteFile(d.forwardingFile(), []byte(b.String()), 0o600)
	}
	if err != nil {
		d.log.Error(err.Error())
	}
}

// turnedBefore lists the switches that an earlier daemon has left on.
func (d *Daemon) turnedBefore() []host.Switch {
	if d.o.RunDir == "" {
		return nil
	}
	return TurnedOn(d.o.RunDir)
}

// ForwardingFile is the file in RunDir with the switches of forwarding that
// are on because of forwardcontrol=.
const ForwardingFile = "forwarding"

// TurnedOn reads that file: after a crash somebody has to turn them off.
func TurnedOn(runDir string) []host.Switch {
	b, err := os.ReadFile(filepath.Join(runDir, ForwardingFile))
	if err != nil {
		return nil
	}
	var list []host.Switch
	for _, w := range strings.Fields(string(b)) {
		if s := host.Switch(w); (s == host.Forward4 || s == host.Forward6) && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
