package pluto

import (
	"context"
	"io"
	"log/slog"
	"net/netip"

	"cygnet/internal/config"
	"cygnet/internal/firewall"
	"cygnet/internal/host"
	"cygnet/internal/ike"
	"cygnet/internal/ikev2"
	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
	"cygnet/internal/suite"
	"cygnet/internal/underlay"
)

// Options are a daemon's surroundings. All but Rand, Log, RunDir and Resolve
// must be given.
type Options struct {
	Version string
	// Config reads the configuration; path is another main file, or empty.
	Config func(path string) (*config.File, error)
	Keys   Keys
	Plane  Plane
	Host   host.Host

	// NoIKE leaves out all that negotiates: connections by hand only. Secrets
	// are not read, and nothing is sent to or read from the ports of IKE.
	NoIKE bool

	// Firewall is the machine's packet filter; nil: it is left alone.
	Firewall firewall.Firewall
	// Ipsec is the path of the command that scripts know as ipsec, and
	// ScriptEnv what their environment has beside the PLUTO_ variables.
	Ipsec     string
	ScriptEnv []string

	// Leases opens the file of leases, when one is needed first; nil: who has
	// which address is forgotten at the end.
	Leases func() (Leases, error)
	// Tokens reads the secret of crash detection (RFC 6290) once the lock is
	// held; nil: there is none.
	Tokens func() (ikev2.TokenSecret, error)
	// NameServers makes what hears of name servers that connections bring to
	// these devices, once no other daemon can be in charge; nil: nobody does.
	NameServers func(devices []string) NameServers

	SelfTest func() []suite.Broken // nil: suite.SelfTest

	Rand io.Reader    // nil: crypto/rand
	Log  *slog.Logger // nil: nothing is logged
	// RunDir holds pluto.ctl and pluto.pid. Empty: there is no control socket
	// and no lock; an embedder asks by methods.
	RunDir string
	// Resolve finds the addresses of a host name; nil: the system's resolver.
	Resolve func(ctx context.Context, name string) ([]netip.Addr, error)
	// Groups reads the policy group files of a configuration; nil: there are none.
	// Resolver asks the DNS about strangers; nil: there is no opportunistic
	// encryption.
	Groups   func(f *config.File) *config.Groups
	Resolver oe.Resolver
	// Report, if not nil, is called with every fact, from the daemon's own
	// goroutine: it must not block.
	Report func(ike.Report)
	// Ready, if not nil, is called once all auto= work has been queued.
	Ready func()
}

// Keys is the store of secrets.
type Keys interface {
	ike.KeyStore
	// Reload reads the secrets again. The old ones stay if it fails.
	Reload(f *config.File) error
}

// Plane is a data plane with devices.
type Plane interface {
	ipsec.Backend
	ipsec.Inspector
	// Attach creates the virtual device, or takes over one that a crashed
	// daemon left, opens the sockets, and begins to carry packets by the
	// policies in force.
	Attach(a Attachment) (underlay.Underlay, error)
	// Detach stops to read and closes the sockets. The device stays in the
	// kernel, without a reader and therefore tight, as it does after a crash.
	Detach(virtual string) error
}

// Attachment joins a virtual device to a physical one.
type Attachment struct {
	Virtual, Physical string
	Addrs             []netip.Addr // ours there
	IKEPort, NATPort  uint16
	CopyTOS           bool
	NoIKE             bool // no UDP ports
	ListenTCP         bool // the NAT traversal port of TCP too
}
