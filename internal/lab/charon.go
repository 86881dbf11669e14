package lab

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	charonPath = "/usr/lib/ipsec/charon"
	pluginDir  = "/usr/lib/ipsec/plugins"
)

// StrongSwan6 is the root of a newer strongSwan, which knows ML-KEM; empty where
// scripts/setup-strongswan6.sh has not put it there.
func StrongSwan6() string {
	root := filepath.Join(cmp.Or(os.Getenv("CYGNET_LAB"), "/opt/cygnet-lab"), "strongswan6")
	if _, err := os.Stat(filepath.Join(root, ".done")); err != nil {
		return ""
	}
	return root
}

// HaveCharon reports whether strongSwan is installed with what the lab needs:
// charon, swanctl and the userspace data plane.
func HaveCharon() bool {
	_, ctl := exec.LookPath("swanctl")
	for _, f := range []string{charonPath, pluginFile("", "kernel-libipsec"), pluginFile("", "vici")} {
		if _, err := os.Stat(f); err != nil {
			return false
		}
	}
	return ctl == nil
}

// Plugins in load order. Of several that offer one thing, the first wins:
// ciphers that use the processor's instructions stand before those that do
// not, and kernel-libipsec before kernel-netlink, which then still supplies
// routes and addresses. Those that a build lacks are left out.
var charonPlugins = strings.Fields(`aesni openssl ml aes sha2 sha1 md5 mgf1 random drbg nonce
	x509 revocation constraints pubkey pkcs1 pkcs7 pkcs8 pkcs12 pem dnskey sshkey
	gmp curve25519 chapoly xcbc cmac hmac kdf ctr ccm gcm
	gcrypt eap-identity eap-mschapv2 eap-tls
	kernel-libipsec kernel-netlink socket-default vici updown counters`)

func pluginFile(root, name string) string {
	return filepath.Join(root, pluginDir, "libstrongswan-"+name+".so")
}

// CharonConfig is what one strongSwan daemon is given.
type CharonConfig struct {
	Swanctl string            // text of swanctl.conf
	Files   map[string]string // beside it, such as "private/key.pem", "pubkey/peer.pem"
	Options []string          // lines inside the charon section of strongswan.conf
	// Root, if not empty, is the root directory of another strongSwan than the
	// machine's. It needs root's rights outside of any user namespace.
	Root string
}

// Charon is a running strongSwan daemon. Its data plane is libipsec: userspace
// ESP behind a TUN device, tunnel mode, always in UDP.
type Charon struct {
	*Process
	host *Host
	root string
	dir  string
	env  []string
}

// StartCharon starts strongSwan on the host and loads its configuration.
func (l *Lab) StartCharon(ctx context.Context, h *Host, conf CharonConfig) (*Charon, error) {
	c := &Charon{host: h, root: conf.Root, dir: filepath.Join(h.Dir, "charon")}
	c.env = []string{
		"STRONGSWAN_CONF=" + filepath.Join(c.dir, "strongswan.conf"),
		"SWANCTL_DIR=" + filepath.Join(c.dir, "swanctl"),
	}
	if err := c.write(conf); err != nil {
		return nil, fmt.Errorf("strongSwan on %s: %w", h.Name, err)
	}
	// charon keeps its pid file and socket in /run, by its build: it gets a
	// /run of its own in a mount namespace of its own.
	script := fmt.Sprintf("mount --bind %s %s/run && exec %s", filepath.Join(c.dir, "run"), c.root, charonPath)
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Env = append(os.Environ(), c.env...)
	if c.root != "" {
		cmd = exec.Command("/bin/sh", "-c", c.enter())
		cmd.Env = append(os.Environ(), "STRONGSWAN_CONF="+filepath.Join(inRoot, "strongswan.conf"))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	p, err := h.Start(cmd, filepath.Join(c.dir, "stdout"))
	if err != nil {
		return nil, err
	}
	c.Process = p
	l.Defer(func() error { p.Stop(3 * time.Second); return nil })
	if !WaitFor(20*time.Second, c.ready) {
		return nil, fmt.Errorf("strongSwan on %s does not come up:\n%s", h.Name, c.Log())
	}
	if out, err := c.Swanctl(ctx, "--load-all", "--noprompt"); err != nil {
		return nil, fmt.Errorf("%w\n%s\n%s", err, out, c.Log())
	}
	return c, nil
}

// inRoot is where a strongSwan of another root finds its files.
const inRoot = "/mnt"

// enter is the script that starts charon in another root directory. Only its
// mount namespace sees what is mounted there.
func (c *Charon) enter() string {
	return fmt.Sprintf(`set -e
mount --make-rprivate /
mount --bind %[1]s %[1]s
mount -t proc proc %[1]s/proc
mount --rbind /dev %[1]s/dev
mount --bind %[2]s/run %[1]s/run
mount --bind %[2]s %[1]s%[3]s
exec chroot %[1]s %[4]s
`, c.root, c.dir, inRoot, charonPath)
}

func (c *Charon) socket() string { return filepath.Join(c.dir, "run", "charon.vici") }

// ready is also true when the daemon has ended, which the next command reports.
func (c *Charon) ready() bool {
	select {
	case <-c.Done():
		return true
	default:
		// The socket's file is there a moment before anyone listens.
		conn, err := net.Dial("unix", c.socket())
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
}

func (c *Charon) write(conf CharonConfig) error {
	files := map[string]string{
		"strongswan.conf":      c.settings(conf.Options),
		"swanctl/swanctl.conf": conf.Swanctl,
	}
	for name, text := range conf.Files {
		files["swanctl/"+name] = text
	}
	for name, text := range files {
		path := filepath.Join(c.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(c.dir, "run"), 0o755)
}

// settings is strongswan.conf: retransmissions end early, as nobody in a test
// waits three minutes.
func (c *Charon) settings(options []string) string {
	var plugins []string
	for _, p := range charonPlugins {
		if _, err := os.Stat(pluginFile(c.root, p)); err == nil {
			plugins = append(plugins, p)
		}
	}
	path := c.logFile()
	if c.root != "" {
		path = filepath.Join(inRoot, filepath.Base(path))
	}
	return fmt.Sprintf(`charon {
	load = %s
	retransmit_timeout = 1.0
	retransmit_tries = 3
	filelog {
		lab {
			path = %s
			time_format = %%H:%%M:%%S
			time_add_ms = yes
			flush_line = yes
			default = 1
			ike = 2
			cfg = 2
			knl = 2
		}
	}
	%s
}
`, strings.Join(plugins, " "), path, strings.Join(options, "\n\t"))
}

func (c *Charon) logFile() string { return filepath.Join(c.dir, "charon.log") }

// Log is what the daemon has logged.
func (c *Charon) Log() string {
	var text strings.Builder
	for _, f := range []string{filepath.Join(c.dir, "stdout"), c.logFile()} {
		b, err := os.ReadFile(f)
		if err == nil {
			text.Write(b)
		}
	}
	return text.String()
}

// Swanctl runs a swanctl command against the daemon. It returns its output,
// and an error unless its exit code is 0.
func (c *Charon) Swanctl(ctx context.Context, args ...string) (string, error) {
	full := append(args, "--uri", "unix://"+c.socket())
	r, err := c.host.Run(ctx, c.env, "swanctl", full...)
	if err != nil {
		return "", err
	}
	if r.Exit != 0 {
		return r.Output(), fmt.Errorf("swanctl %s on %s: exit %d: %s", strings.Join(args, " "), c.host.Name, r.Exit, strings.TrimSpace(r.Output()))
	}
	return r.Output(), nil
}
