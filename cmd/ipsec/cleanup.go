package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"cygnet/internal/config"
	"cygnet/internal/firewall"
	"cygnet/internal/host"
	"cygnet/internal/pluto"
)

var virtualName = regexp.MustCompile(`^ipsec[0-9]+$`)

// cleanUp removes what a daemon that crashed has left: its devices, with the
// routes into them, forwarding if it had turned that on, its proxy ARP, its
// rules of the packet filter, and its run-time files. Until then they make sure that nothing
// leaves in the clear.
func (s *setup) cleanUp() error {
	h, err := host.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	if err := removeDevices(h, nil); err != nil {
		return err
	}
	for _, w := range pluto.TurnedOn(s.at.run) {
		if err := h.SetSwitch(w, "0"); err != nil {
			return err
		}
	}
	if err := pluto.RemoveProxies(h, s.at.run); err != nil {
		return err
	}
	if err := removeRules(); err != nil {
		return err
	}
	for _, file := range []string{s.at.socket(), s.at.pidFile(), s.at.infoFile(), filepath.Join(s.at.run, pluto.ForwardingFile)} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// dropUnnamed removes the devices that a restart has kept and that interfaces=
// does not name any more.
func (s *setup) dropUnnamed() error {
	h, err := host.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	return removeDevices(h, s.conf.Interfaces)
}

// removeDevices removes our virtual devices, with the routes into them, but those
// that an entry of interfaces= has.
func removeDevices(h host.Host, but []config.Interface) error {
	links, err := h.Interfaces()
	if err != nil {
		return err
	}
	devices := unnamed(links, but)
	if err := h.SetRoutes(nil, devices); err != nil {
		return fmt.Errorf("remove routes: %w", err)
	}
	for _, d := range devices {
		if err := h.RemoveDevice(d); err != nil {
			return fmt.Errorf("remove %s: %w", d, err)
		}
	}
	return nil
}

// unnamed lists the virtual devices among links that no entry of interfaces= has.
func unnamed(links []host.Interface, named []config.Interface) []string {
	var list []string
	for _, l := range links {
		has := func(i config.Interface) bool { return i.Virtual == l.Name }
		if virtualName.MatchString(l.Name) && !slices.ContainsFunc(named, has) {
			list = append(list, l.Name)
		}
	}
	return list
}

// removeRules removes our rules of the packet filter, where there is one.
func removeRules() error {
	f, err := firewall.New(firewall.Options{})
	if err != nil {
		return nil // no nftables, no rules
	}
	defer f.Close()
	if err := f.Remove(); err != nil {
		return fmt.Errorf("remove rules of the packet filter: %w", err)
	}
	return nil
}
