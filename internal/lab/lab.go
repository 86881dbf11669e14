// Package lab is a test bed of network namespaces: hosts, links between them,
// captures of what crosses a link, traffic, and processes in a namespace with
// a clean-up that ends all of them. The demo and the tests of real binaries
// and foreign peers stand on it. It knows nothing of IPsec's inside; it looks
// at wires and starts programs.
//
// A Lab is built and closed by one goroutine; hosts, captures and pingers may
// be used from several.
package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Lab is a set of hosts. New makes one; Close ends and removes everything in it.
type Lab struct {
	prefix string // of the namespaces' names
	dir    string
	ownDir bool
	hosts  []*Host
	undo   []func() error // closed in reverse order
}

// New starts an empty lab. Its namespaces are called PREFIX-HOST, so that
// `ip netns exec` finds them; its files are below dir, or, if dir is "", in a
// directory that Close removes.
func New(prefix, dir string) (*Lab, error) {
	l := &Lab{prefix: prefix, dir: dir}
	if dir == "" {
		made, err := os.MkdirTemp("", prefix+"-")
		if err != nil {
			return nil, fmt.Errorf("make lab directory: %w", err)
		}
		l.dir, l.ownDir = made, true
	}
	return l, nil
}

// Reopen takes over a lab that another process has built and left standing.
// Captures and wires ended with that process; hosts and links go on.
func Reopen(prefix, dir string, hosts []string) (*Lab, error) {
	l := &Lab{prefix: prefix, dir: dir}
	for _, name := range hosts {
		h, err := openHost(prefix+"-"+name, name, filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("open host %s: %w", name, err)
		}
		l.hosts = append(l.hosts, h)
	}
	return l, nil
}

// Prefix begins the names of the lab's namespaces.
func (l *Lab) Prefix() string { return l.prefix }

// Dir is where the files of the lab are.
func (l *Lab) Dir() string { return l.dir }

// Hosts lists the hosts in the order they were added.
func (l *Lab) Hosts() []*Host { return l.hosts }

// Host returns the host of that name, or nil.
func (l *Lab) Host(name string) *Host {
	for _, h := range l.hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// AddHost makes a host with a loopback interface and nothing else.
func (l *Lab) AddHost(name string) (*Host, error) {
	if l.Host(name) != nil {
		return nil, fmt.Errorf("host %s exists", name)
	}
	h, err := newHost(l.prefix+"-"+name, name, filepath.Join(l.dir, name))
	if err != nil {
		return nil, fmt.Errorf("make host %s: %w", name, err)
	}
	l.hosts = append(l.hosts, h)
	return h, nil
}

// Defer has f called by Close, before the hosts go and in reverse order.
func (l *Lab) Defer(f func() error) { l.undo = append(l.undo, f) }

// Close ends every process in the lab's namespaces, and removes namespaces and
// files. It goes on after errors and returns them joined.
func (l *Lab) Close() error {
	var errs []error
	for i := len(l.undo) - 1; i >= 0; i-- {
		errs = append(errs, l.undo[i]())
	}
	l.undo = nil
	for _, h := range l.hosts {
		errs = append(errs, h.EndProcesses())
	}
	for _, h := range l.hosts {
		errs = append(errs, h.close())
	}
	l.hosts = nil
	if l.ownDir {
		errs = append(errs, os.RemoveAll(l.dir))
	}
	return errors.Join(errs...)
}
