// Package nameserver tells this machine of the name servers that tunnels have
// brought. Where systemd-resolved runs, it is told by resolvectl, each device
// with the domains that its servers are for. In any case they are written to a
// file in the form of resolv.conf, for what reads that.
package nameserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// commandTime is how long resolvectl may take.
const commandTime = 5 * time.Second

// Link is what one device has brought.
type Link struct {
	Device  string
	Servers []netip.Addr
	Domains []string // that they are for; none: all
}

func (l Link) equal(m Link) bool {
	return l.Device == m.Device && slices.Equal(l.Servers, m.Servers) && slices.Equal(l.Domains, m.Domains)
}

// Options say where the package may write.
type Options struct {
	File       string // to be written; empty: none
	Resolvectl string // path of the command; empty: systemd-resolved is not told
	Failed     func(error)
}

// Machine tells one machine. Set and Close are for one goroutine.
type Machine struct {
	o    Options
	told []Link
	jobs chan []Link
	done chan struct{}
}

// New begins with a machine that has been told nothing: what a daemon that
// crashed has left is taken back. devices are those that may have it.
func New(o Options, devices []string) *Machine {
	m := &Machine{o: o, jobs: make(chan []Link, 16), done: make(chan struct{})}
	go m.serve(devices)
	m.write(nil)
	return m
}

// Set makes links all that tunnels have brought. resolvectl runs later; of
// several sets in a row it may see the last only.
func (m *Machine) Set(links []Link) {
	if slices.EqualFunc(links, m.told, Link.equal) {
		return
	}
	m.told = slices.Clone(links)
	m.write(m.told)
	for {
		select {
		case m.jobs <- m.told:
			return
		default:
		}
		select { // full: the oldest is of no interest any more
		case <-m.jobs:
		default:
		}
	}
}

// Close takes everything back.
func (m *Machine) Close() {
	m.Set(nil)
	close(m.jobs)
	<-m.done
}

// write replaces the file, or removes it if there is nothing to say.
func (m *Machine) write(links []Link) {
	if m.o.File == "" {
		return
	}
	if len(links) == 0 {
		if err := os.Remove(m.o.File); err != nil && !errors.Is(err, fs.ErrNotExist) {
			m.o.Failed(fmt.Errorf("remove name servers: %w", err))
		}
		return
	}
	temp := m.o.File + ".new"
	err := os.WriteFile(temp, text(links), 0o644)
	if err == nil {
		err = os.Rename(temp, m.o.File)
	}
	if err != nil {
		m.o.Failed(fmt.Errorf("write name servers: %w", err))
	}
}

// text is a resolv.conf. That form knows no servers for some domains only, so
// these are named in a comment.
func text(links []Link) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, "# Name servers that IPsec connections have brought. Written by pluto.")
	for _, l := range links {
		fmt.Fprintf(&b, "# by %s, for", l.Device)
		if len(l.Domains) == 0 {
			fmt.Fprint(&b, " all names")
		}
		for _, d := range l.Domains {
			fmt.Fprintf(&b, " %s", d)
		}
		fmt.Fprintln(&b)
		for _, a := range l.Servers {
			fmt.Fprintf(&b, "nameserver %s\n", a)
		}
	}
	return b.Bytes()
}

// serve runs resolvectl until Close.
func (m *Machine) serve(devices []string) {
	defer close(m.done)
	var have []Link
	for _, d := range devices {
		have = append(have, Link{Device: d}) // whatever it is
	}
	m.tell(have, nil)
	have = nil
	for want := range m.jobs {
		m.tell(have, want)
		have = want
	}
}

// tell takes systemd-resolved from one set to another.
func (m *Machine) tell(have, want []Link) {
	if m.o.Resolvectl == "" {
		return
	}
	for _, l := range have {
		if !slices.ContainsFunc(want, func(w Link) bool { return w.Device == l.Device }) {
			m.run(len(l.Servers) > 0, "revert", l.Device)
		}
	}
	for _, l := range want {
		if slices.ContainsFunc(have, l.equal) {
			continue
		}
		servers, domains := []string{"dns", l.Device}, []string{"domain", l.Device}
		for _, a := range l.Servers {
			servers = append(servers, a.String())
		}
		for _, d := range l.Domains {
			domains = append(domains, "~"+d) // for routing of questions, not to be appended to names
		}
		if len(l.Domains) == 0 {
			domains = append(domains, "~.")
		}
		m.run(true, servers...)
		m.run(true, domains...)
	}
}

// run calls resolvectl. Undoing what may not be there is allowed to fail.
func (m *Machine) run(strict bool, args ...string) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, m.o.Resolvectl, args...).CombinedOutput()
	if err != nil && strict {
		m.o.Failed(fmt.Errorf("resolvectl %q: %w: %q", args, err, bytes.TrimSpace(out)))
	}
}

// Resolvectl is the path of resolvectl where systemd-resolved runs and is ours:
// the one of another network namespace would mistake our devices for its own.
// Otherwise it is empty.
func Resolvectl() string {
	if _, err := os.Stat("/run/systemd/resolve/io.systemd.Resolve"); err != nil {
		return ""
	}
	own, err := os.Readlink("/proc/self/ns/net")
	first, err2 := os.Readlink("/proc/1/ns/net")
	if err != nil || err2 != nil || own != first {
		return ""
	}
	for _, dir := range []string{"/usr/bin", "/bin"} {
		path := filepath.Join(dir, "resolvectl")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}
