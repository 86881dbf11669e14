package pluto

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"cygnet/internal/ike"
)

// takeLock makes this daemon the only one of its RunDir. The lock is on the
// file, not its existence, so what a crash leaves behind is no obstacle.
func (d *Daemon) takeLock() error {
	if d.o.RunDir == "" {
		return nil
	}
	if err := os.MkdirAll(d.o.RunDir, 0o700); err != nil {
		return fmt.Errorf("make run-time directory: %w", err)
	}
	path := filepath.Join(d.o.RunDir, "pluto.pid")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return fmt.Errorf("open lock: %w", err)
	}
	for try := 0; ; try++ {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || try >= lockTries {
			f.Close()
			return fmt.Errorf("lock %s: %w", path, ErrRunning)
		}
		time.Sleep(lockWait)
	}
	old, _ := os.ReadFile(path)
	if pid := strings.TrimSpace(string(old)); pid != "" {
		d.log.Warn(fmt.Sprintf("pluto %s did not end cleanly", pid))
	}
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	d.lock = f
	return nil
}

func writePID(f *os.File) error {
	_, err := f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	return err
}

func (d *Daemon) releaseLock() {
	if d.lock != nil {
		os.Remove(d.lock.Name())
		d.lock.Close()
		d.lock = nil
	}
}

// notify tells systemd how we are, if it asked.
func (d *Daemon) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		d.log.Warn("tell systemd: " + err.Error())
	}
}

// watch begins to reassure systemd's watchdog, if there is one.
func (d *Daemon) watch() {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	d.watchdog = every / 2
	d.barkAt = time.Now().Add(d.watchdog)
}

// serials lists the machines in order.
func (d *Daemon) serials() []uint32 { return slices.Sorted(maps.Keys(d.machines)) }

// sayGoodbye deletes all IKE SAs, so that peers know, and waits a moment for
// their answers. The table is not asked any more: nothing shall come up again.
func (d *Daemon) sayGoodbye() {
	d.notify("STOPPING=1")
	d.stopping = true
	for _, serial := range d.serials() {
		d.enqueue(serial, ike.Delete{})
	}
	d.drain()
	ctx, cancel := context.WithTimeout(context.Background(), byeTime)
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for len(d.machines) > 0 && ctx.Err() == nil {
		timer.Reset(d.nextDeadline())
		d.once(ctx.Done(), timer.C)
	}
}

// cleanUp takes back all that Run has set up: first what forwards, then what
// protects. Before a restart what protects stays, as it does in a crash: routes
// into devices that nobody reads, and the packet filter (CRS-12).
func (d *Daemon) cleanUp() {
	d.stopping = true
	d.setRelays()
	{
		closed := make(chan struct{})
		go func() {
			if d.server != nil {
				d.server.Close()
			}
			if d.exporter != nil {
				d.exporter.Close()
			}
			d.background.Wait()
			close(closed)
		}()
		for open := true; open; { // clients may still be waiting for the loop
			select {
			case f := <-d.commands:
				f()
			case <-closed:
				open = false
			}
		}
	}
	d.endLookups()
	d.goodbyeByHand()
	d.stopScripts()
	if !d.blocking {
		d.forwardingOff()
		if err := d.o.Host.SetRoutes(nil, d.devices()); err != nil {
			d.log.Error(err.Error())
		}
	}
	for len(d.links) > 0 {
		d.detach(d.links[0], d.blocking)
	}
	d.readers.Wait()
	if !d.blocking {
		d.unfilter()
	}
	d.closeLeases()
	if d.resolver != nil {
		d.resolver.Close()
	}
	d.forgetDefaults()
	if err := d.o.Host.SetProxies(nil); err != nil {
		d.log.Error(err.Error())
	}
	d.proxies = nil
	d.rememberProxies()
	if err := d.o.Plane.SetPolicies(context.Background(), nil); err != nil {
		d.log.Error(err.Error())
	}
}
