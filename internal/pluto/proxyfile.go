package pluto

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"cygnet/internal/host"
)

// The kernel does not tell whose proxy ARP entries it has, so those that are ours
// are written down beside the control socket: whoever comes after a crash takes
// them away.

func proxyFile(runDir string) string { return filepath.Join(runDir, "proxies") }

// rememberProxies writes down the entries that stand now.
func (d *Daemon) rememberProxies() {
	if d.o.RunDir == "" {
		return
	}
	if err := writeProxies(d.o.RunDir, d.proxies); err != nil {
		d.log.Error(err.Error())
	}
}

func writeProxies(runDir string, list []host.Proxy) error {
	if len(list) == 0 {
		if err := os.Remove(proxyFile(runDir)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return os.WriteFile(proxyFile(runDir), b, 0o600)
}

// RemoveProxies takes away what a daemon that crashed has left: the proxy ARP
// entries of its connections. No daemon may be running.
func RemoveProxies(h host.Host, runDir string) error {
	b, err := os.ReadFile(proxyFile(runDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var left []host.Proxy
	if err == nil {
		err = json.Unmarshal(b, &left)
	}
	if err != nil {
		return fmt.Errorf("proxy ARP of an earlier daemon: %w", err)
	}
	// The host knows only what it was told itself: so first that they stand.
	if err := h.SetProxies(left); err != nil {
		return fmt.Errorf("proxy ARP of an earlier daemon: %w", err)
	}
	if err := h.SetProxies(nil); err != nil {
		return fmt.Errorf("proxy ARP of an earlier daemon: %w", err)
	}
	return writeProxies(runDir, nil)
}
