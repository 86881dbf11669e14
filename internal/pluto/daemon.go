package pluto

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/connection"
	"cygnet/internal/host"
	"cygnet/internal/ike"
	"cygnet/internal/ikev1"
	"cygnet/internal/ikev2"
	"cygnet/internal/metrics"
	"cygnet/internal/suite"
	"cygnet/internal/underlay"
	"cygnet/internal/updown"
	"cygnet/internal/whack"
)

// ErrRunning says that another daemon holds the lock of this RunDir.
var ErrRunning = errors.New("another pluto is running")

// Daemon is a running key daemon. Make it with New; all fields but the first
// block belong to the goroutine of Run.
type Daemon struct {
	o        Options
	log      *slog.Logger
	broken   []suite.Broken // found by the self test, never to be used
	commands chan func()    // run in the loop
	ended    chan struct{}  // closed when Run returns
	stop     context.CancelCauseFunc

	table    *connection.Table
	cfg      *ikev2.Config
	gate     *ikev2.Gate
	cfg1     *ikev1.Config
	gate1    *ikev1.Gate
	machines map[uint32]ike.Machine // by serial
	bySPI    map[spiKey]ike.Machine
	states   map[uint32]ike.State // newest step of each IKE SA that is not established
	serial   uint32
	timers   timers
	queue    []toMachine     // events for machines, in order
	strange  map[uint32]bool // IKE SAs of callers who have yet to prove who they are
	backlog  backlog

	file        *config.File
	names       map[string]netip.Addr
	links       []*link // attached devices
	datagrams   chan underlay.Datagram
	readers     sync.WaitGroup
	workers     *workers
	inLine      []string          // connections that plutowait= has not started yet
	starting    uint64            // the waiter of the one it has
	awaited     map[string]string // virtual devices that wait for a physical one, and why
	rescanAt    time.Time
	unfollowed  bool          // the SPD has changed since follow
	proxies     []host.Proxy  // addresses that we answer for
	auditAt     time.Time     // when the data plane is looked through next
	filterAt    time.Time     // when the packet filter is to be brought in line; zero: it is
	othersAt    time.Time     // when it is to be mended after changes of others
	filtered    time.Time     // when filterDebt was reckoned last
	filterErr   error         // and what came of it
	filterDebt  time.Duration // rest that its transactions still owe
	watchdog    time.Duration // how often systemd wants to hear of us; 0: never
	barkAt      time.Time
	batching    bool          // at start: policies and routes wait until all are known
	forwarded   []host.Switch // those that are on because of us
	deaf        bool          // after unlisten
	stopping    bool
	blocking    bool // a stop leaves devices, routes and packet filter to the next daemon
	started     bool
	debug       map[string]bool   // areas of plutodebug
	quotas      map[string]*quota // by class of debugging
	poisons     poisons           // messages that made a machine panic
	lastMessage []byte
	sending     quota // of lines about messages that could not be sent
	tally       tally
	exporter    *metrics.Server // nil: no metrics are served
	myID        ike.ID
	loaded      map[string]*config.File // where each connection was read
	refreshNow  chan struct{}           // certificates were read: CRLs may be due
	hand        byHand
	oe          strangers
	lent        lending
	dhcp        dhcpState
	ending      context.Context // of Run
	background  sync.WaitGroup  // goroutines that wait for something and ask by call
	resolver    NameServers     // nil: there is none

	waiters    map[uint64]chan whack.Reply
	lastWaiter uint64
	scripts    *updown.Runner
	scriptDone chan updown.Result
	faults     map[faultKey]error
	lock       *os.File
	server     *whack.Server
}

// spiKey finds a machine by the SPI that is ours.
type spiKey struct {
	spi       uint64
	initiator bool // we initiated
}

type toMachine struct {
	serial uint32
	event  ike.Event
}

// New checks the options and the algorithms.
func New(o Options) (*Daemon, error) {
	if o.Config == nil || o.Keys == nil || o.Plane == nil || o.Host == nil {
		return nil, errors.New("pluto: Config, Keys, Plane and Host must be given")
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	broken, err := selfTest(o)
	if err != nil {
		return nil, err
	}
	d := &Daemon{o: o, log: o.Log, broken: broken, commands: make(chan func()), ended: make(chan struct{}),
		table: connection.NewTable(), machines: map[uint32]ike.Machine{}, bySPI: map[spiKey]ike.Machine{},
		states: map[uint32]ike.State{}, strange: map[uint32]bool{}, datagrams: make(chan underlay.Datagram), debug: map[string]bool{}, quotas: map[string]*quota{},
		waiters: map[uint64]chan whack.Reply{}, scriptDone: make(chan updown.Result), awaited: map[string]string{}, faults: map[faultKey]error{},
		refreshNow: make(chan struct{}, 1), loaded: map[string]*config.File{}, tally: newTally(),
		oe: strangers{asking: map[uint64]context.CancelFunc{}, findings: make(chan connection.Found)}}
	d.cfg1 = &ikev1.Config{PAD: d.table.Speaking(ike.Version1), Rand: o.Rand, SPIs: spiSource{o.Plane}, NextSerial: d.nextSerial,
		UseInitialContact: d.table.Alone, Spoken: func() bool { return d.table.Speaks(ike.Version1) }, Bundles: true}
	d.gate1 = ikev1.NewGate(d.cfg1, ikev1.Limits{})
	d.scripts = d.newScripts()
	d.cfg = &ikev2.Config{PAD: d.table.Speaking(ike.Version2), Rand: o.Rand, SPIs: spiSource{o.Plane}, NextSerial: d.nextSerial,
		UseInitialContact: d.table.Alone, Pool: lender{d}}
	if c := d.certs(); c != nil {
		d.cfg.Authorities, d.cfg1.Authority = c.Authorities, c.AuthorityV1
	}
	return d, nil
}

func (d *Daemon) nextSerial() uint32 {
	d.serial++
	return d.serial
}

// Run starts up, serves until ctx ends or a command stops it, and cleans up.
// It returns nil after an orderly end.
func (d *Daemon) Run(ctx context.Context) error {
	ctx, d.stop = context.WithCancelCause(ctx)
	d.ending = ctx
	defer close(d.ended)
	d.oe.ctx = ctx
	if err := d.takeLock(); err != nil {
		return err
	}
	defer d.releaseLock()
	d.deaf = d.o.NoIKE
	d.log.Info(fmt.Sprintf("Starting %s (Cygnet Version %s)", d.name(), d.o.Version))
	file, err := d.o.Config("")
	if err != nil {
		return err
	}
	names := d.resolve(ctx, file)
	d.configure(file, names)
	n := file.Setup.Helpers
	if n <= 0 {
		n = runtime.NumCPU()
	}
	d.workers = startWorkers(n, ike.Env{Rand: d.o.Rand, Keys: d.o.Keys, Ask: d.askJob()})
	defer func() { d.workers.stop() }()
	defer d.cleanUp()
	if err := d.startUp(); err != nil {
		return err
	}
	if d.server != nil {
		go d.server.Serve()
	}
	if !d.o.NoIKE && d.certs() != nil {
		d.background.Go(func() { d.refresh(ctx) })
	}
	d.loop(ctx)
	d.log.Info("shutting down")
	d.sayGoodbye()
	return nil
}

// startUp attaches devices and queues all auto= work. Policies and routes are
// set once, when all of them are known: what a crashed daemon left standing
// is replaced by what belongs there, with nothing between.
func (d *Daemon) startUp() error {
	if err := d.setKlipsDebug(d.file.Setup.KLIPSDebug); err != nil {
		d.log.Error("klipsdebug: " + err.Error())
	}
	if !d.o.NoIKE {
		d.loadSecrets()
		d.loadTokens()
	}
	if d.o.NameServers != nil {
		d.resolver = d.o.NameServers(d.devices())
	}
	if d.o.RunDir != "" {
		if err := RemoveProxies(d.o.Host, d.o.RunDir); err != nil {
			d.log.Error(err.Error())
		}
	}
	if err := d.attachAll(); err != nil {
		return err
	}
	d.setRelays()
	d.batching = true
	d.manualAtStart()
	if !d.o.NoIKE {
		d.loadAll()
		d.regroup(d.readGroups(d.file), 0)
	}
	d.batching = false
	d.setPolicies()
	d.setRoutes()
	if d.o.Firewall != nil {
		d.filterNow()
	}
	d.forwarding()
	if err := d.listen(); err != nil {
		return err
	}
	if !d.o.NoIKE {
		d.initiateAll()
		d.drain()
		d.log.Info("listening for IKE messages")
	}
	d.serveMetrics()
	d.started = true
	d.noteDefaults()
	d.notify("READY=1")
	d.watch()
	if d.o.Ready != nil {
		d.o.Ready()
	}
	return nil
}

// loadTokens lets peers know at once when we have crashed. Without a secret that
// outlives us they find out by their liveness checks.
func (d *Daemon) loadTokens() {
	if d.o.Tokens == nil {
		return
	}
	secret, err := d.o.Tokens()
	if err != nil {
		d.log.Warn("peers will not learn at once of a crash: " + err.Error())
		return
	}
	d.cfg.Tokens = secret
}

func (d *Daemon) listen() error {
	if d.o.RunDir == "" {
		return nil
	}
	s := &whack.Server{Handle: d.handle, Refused: func(p whack.Peer, why string) {
		d.log.Warn("control client refused: "+why, "uid", p.UID, "pid", p.PID)
	}, Readers: d.lookers()}
	if err := s.Listen(filepath.Join(d.o.RunDir, "pluto.ctl")); err != nil {
		return err
	}
	d.server = s
	return nil
}

// call runs f in the loop and waits for it. It returns false if the daemon
// has ended.
func (d *Daemon) call(ctx context.Context, f func()) bool {
	done := make(chan struct{})
	select {
	case d.commands <- func() { f(); close(done) }:
	case <-ctx.Done():
		return false
	case <-d.ended:
		return false
	}
	select {
	case <-done:
		return true
	case <-d.ended:
		return false
	}
}
