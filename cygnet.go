// Package cygnet is IPsec for Linux as a library: a key daemon and a data plane
// in userspace, started from a directory of FreeS/WAN's configuration files.
// The ipsec command is built on it.
//
//	h, err := cygnet.Start(ctx, cygnet.Options{Confs: "/etc", Log: logger})
//	err = h.Up(ctx, "west-east", nil)
//	for ev := range h.Events(ctx) { … }
//
// It needs CAP_NET_ADMIN and CAP_NET_RAW in its network namespace.
package cygnet

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"

	"cygnet/internal/config"
	"cygnet/internal/host"
	"cygnet/internal/ike"
	"cygnet/internal/keys"
	"cygnet/internal/pluto"
	"cygnet/internal/suite"
	"cygnet/internal/whack"
)

// Options say what to run. The zero value reads /etc/ipsec.conf and
// /etc/ipsec.secrets, has no control socket, and logs nothing.
type Options struct {
	Version string
	// Confs is the directory of ipsec.conf, ipsec.secrets and ipsec.d; empty
	// means $IPSEC_CONFS or /etc.
	Confs string
	// RunDir holds the control socket and the lock, for the ipsec commands.
	// Empty: neither is made, and the methods of Host are the only way in.
	RunDir string
	// StateDir holds what outlives the daemon: leases of address pools. Empty:
	// they are forgotten at the end.
	StateDir string
	// NoIKE runs the data plane alone, for connections with manual keys: the
	// ports of IKE stay closed and ipsec.secrets is not read.
	NoIKE bool
	// Ipsec is the path of the ipsec command, for leftupdown="ipsec _updown …";
	// empty: scripts find it where commands are.
	Ipsec string
	// Resolver asks the DNS for keys and gateways; nil: as config setup says.
	Resolver Resolver
	Log      *slog.Logger
}

// Errors of Start, to be tested with errors.Is.
var (
	ErrRunning = pluto.ErrRunning // another daemon uses that RunDir
	ErrConfig  = errors.New("bad configuration")
)

// Host is a running daemon. Its methods are safe for concurrent use.
type Host struct {
	daemon *pluto.Daemon
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of the daemon, once done is closed

	mu        sync.Mutex
	listeners map[chan Event]struct{}
}

// Event is a fact about a connection: an exchange's progress, an SA that came
// or went, a failure.
type Event struct {
	Conn     string // empty where no connection is known
	Instance int
	Serial   uint32 // of the IKE SA or Child SA
	Kind     EventKind
	Reason   string // of a failure: proposal, authentication, silent, selectors, …
	Text     string // one line, as in the log
}

// EventKind is the kind of an Event.
type EventKind string

// The kinds.
const (
	EventProgress  EventKind = "progress"
	EventIKEUp     EventKind = "ike-up"
	EventIKEDown   EventKind = "ike-down"
	EventChildUp   EventKind = "child-up"
	EventChildDown EventKind = "child-down"
	EventFailed    EventKind = "failed"
)

// Error is why an operation failed, with the exit code of the ipsec commands.
type Error struct {
	Exit   int
	Reason string
	Text   string
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Start runs a daemon until ctx ends or Close. It returns once all auto= work
// has been queued.
func Start(ctx context.Context, o Options) (*Host, error) {
	if err := suite.FIPSOnly(); err != nil {
		return nil, err
	}
	file, err := load(o.Confs, "")
	if err != nil {
		return nil, err
	}
	machine, err := host.Open()
	if err != nil {
		return nil, err
	}
	plane := newPlane(&file.Setup)
	filter := newFilter(o.Log)
	ring := newSecrets(o)
	h := &Host{done: make(chan struct{}), listeners: map[chan Event]struct{}{}}
	started := make(chan struct{})
	h.daemon, err = pluto.New(pluto.Options{
		Version: o.Version, RunDir: o.RunDir, NoIKE: o.NoIKE, Log: o.Log, Plane: plane, Host: machine,
		Firewall: filter, Ipsec: o.Ipsec, ScriptEnv: scriptEnv(), Leases: openLeases(o), Tokens: openTokens(o), NameServers: newNameServers(o),
		Config: func(path string) (*config.File, error) { return load(o.Confs, path) },
		Groups: func(f *config.File) *config.Groups { return config.LoadGroups(o.Confs, f) },
		Keys:   ring, Resolver: ring.dns,
		Report: h.publish,
		Ready:  func() { close(started) },
	})
	if err != nil {
		return nil, errors.Join(err, plane.Close(), machine.Close(), closeFilter(filter))
	}
	ctx, h.cancel = context.WithCancel(ctx)
	go func() {
		defer context.AfterFunc(ctx, ring.dns.close)() // who waits for an answer need not at the end
		err := h.daemon.Run(ctx)
		ring.dns.close()
		h.err = errors.Join(err, plane.Close(), machine.Close(), closeFilter(filter))
		close(h.done)
	}()
	select {
	case <-started:
		return h, nil
	case <-h.done:
		h.cancel()
		return nil, h.err
	}
}

// load reads a configuration file. Errors of single connections are no error:
// those connections are missing, and the daemon says so.
func load(confs, path string) (*config.File, error) {
	file := config.Load(confs)
	if path != "" {
		file = config.LoadFile(path)
	}
	if err := file.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return file, nil
}

// Up brings a connection up and waits for the outcome; each, if not nil, gets
// a line for every step. A failure is an *Error.
func (h *Host) Up(ctx context.Context, conn string, each func(line string)) error {
	return h.do(ctx, whack.Request{Op: whack.OpUp, Args: whack.Args{Name: conn}}, each)
}

// Down deletes the SAs of a connection; its traffic is discarded from then on,
// or brings it up again if the connection says auto=route.
func (h *Host) Down(ctx context.Context, conn string) error {
	return h.do(ctx, whack.Request{Op: whack.OpDown, Args: whack.Args{Name: conn}}, nil)
}

// Route makes traffic bring a connection up.
func (h *Host) Route(ctx context.Context, conn string) error {
	return h.do(ctx, whack.Request{Op: whack.OpRoute, Args: whack.Args{Name: conn}}, nil)
}

// Unroute restores plain routing for what a connection covers.
func (h *Host) Unroute(ctx context.Context, conn string) error {
	return h.do(ctx, whack.Request{Op: whack.OpUnroute, Args: whack.Args{Name: conn}}, nil)
}

func (h *Host) do(ctx context.Context, r whack.Request, each func(line string)) error {
	final := h.daemon.Do(ctx, r, func(r whack.Reply) {
		if each != nil {
			each(fmt.Sprintf("%03d %s", r.Code, r.Text))
		}
	})
	switch {
	case !final.Final:
		return ctx.Err()
	case final.Exit != whack.ExitDone:
		return &Error{int(final.Exit), final.Reason, final.Text}
	}
	return nil
}

// Reload reads configuration and secrets again. What did not change goes on
// undisturbed.
func (h *Host) Reload(ctx context.Context) error { return h.daemon.Reload(ctx) }

// Close ends the daemon: peers are told, routes and devices go.
func (h *Host) Close() error {
	h.cancel()
	return h.Wait()
}

// Wait returns when the daemon has ended, by itself or by Close.
func (h *Host) Wait() error {
	<-h.done
	return h.err
}

// Done is closed when the daemon has ended.
func (h *Host) Done() <-chan struct{} { return h.done }

// listenerQueue is how many events a slow listener may be behind; then it
// misses some.
const listenerQueue = 1024

// Events yields what happens from now on, until ctx or the daemon ends.
func (h *Host) Events(ctx context.Context) iter.Seq[Event] {
	ch := make(chan Event, listenerQueue)
	h.mu.Lock()
	h.listeners[ch] = struct{}{}
	h.mu.Unlock()
	return func(yield func(Event) bool) {
		defer func() {
			h.mu.Lock()
			delete(h.listeners, ch)
			h.mu.Unlock()
		}()
		for {
			select {
			case ev := <-ch:
				if !yield(ev) {
					return
				}
			case <-ctx.Done():
				return
			case <-h.done:
				return
			}
		}
	}
}

func (h *Host) publish(r ike.Report) {
	ev := event(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.listeners {
		select {
		case ch <- ev:
		default:
		}
	}
}

func event(r ike.Report) Event {
	ev := Event{Serial: r.Serial, Kind: EventProgress, Text: r.Fact.String()}
	if r.Conn != nil {
		ev.Conn, ev.Instance = r.Conn.Name, r.Conn.Instance
	}
	failed := func(kind EventKind, why *ike.Failure) {
		ev.Kind = kind
		if why != nil {
			ev.Reason = why.Reason.String()
		}
	}
	switch f := r.Fact.(type) {
	case ike.IKEUp:
		ev.Kind = EventIKEUp
	case ike.ChildUp:
		ev.Kind = EventChildUp
	case ike.IKEDown:
		failed(EventIKEDown, f.Why)
	case ike.ChildDown:
		failed(EventChildDown, f.Why)
	case ike.Failed:
		failed(EventFailed, f.Why)
	}
	return ev
}

// secrets is the ring of keys together with the files it is filled from.
type secrets struct {
	*keys.Ring
	o     Options
	certs certificates
	dns   *nameService
}

func newSecrets(o Options) *secrets {
	note := func(string) {}
	if o.Log != nil {
		note = func(text string) { o.Log.Info(text) }
	}
	s := &secrets{Ring: keys.New(keys.Options{Note: note, Resolve: lookup}), o: o, dns: &nameService{o: o, why: errNoDNS}}
	s.SetNames(s.dns)
	return s
}

// Reload implements pluto.Keys. Entries with errors are left out and told.
func (s *secrets) Reload(file *config.File) error {
	found := config.LoadSecrets(s.o.Confs, &file.Setup)
	var errs []error
	for _, p := range found.Errors {
		errs = append(errs, p)
	}
	for _, p := range s.Set(found) {
		errs = append(errs, p)
	}
	if s.o.Log != nil {
		for _, f := range found.Files {
			s.o.Log.Info(fmt.Sprintf("loading secrets from %q", f))
		}
		for _, w := range found.Warnings {
			s.o.Log.Warn(w.Error())
		}
	}
	if err := s.dns.configure(file); err != nil {
		errs = append(errs, err)
	}
	s.dns.prefetch(file)
	return errors.Join(errs...)
}
