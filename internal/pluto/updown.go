package pluto

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"cygnet/internal/connection"
	"cygnet/internal/ipsec"
)

// scriptPath is all that a script finds commands in.
const scriptPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// scriptKey names the connection or instance that a script runs for.
type scriptKey struct {
	name     string
	instance int
}

// scriptQueue is what waits for the running script of one connection.
type scriptQueue struct {
	waiting []connection.Updown
	cancel  context.CancelFunc
}

type scriptEnd struct {
	key    scriptKey
	verb   string
	output []byte
	err    string // empty: well
}

// runScript starts a user's updown command, or puts it behind the one that
// runs for the same connection. The loop never waits for it (freeswan.md 6.13).
func (d *Daemon) runScript(a connection.Updown) {
	k := scriptKey{a.Desc.Name, a.Desc.Instance}
	if q := d.scripts[k]; q != nil {
		q.waiting = append(q.waiting, a)
		return
	}
	d.scripts[k] = &scriptQueue{}
	d.startScript(k, a)
}

func (d *Daemon) startScript(k scriptKey, a connection.Updown) {
	ctx, cancel := context.WithTimeout(context.Background(), scriptTime)
	d.scripts[k].cancel = cancel
	env := scriptEnv(a, d.mtuFor(a.Desc.Virtual))
	go func() {
		defer cancel()
		out, err := runCommand(ctx, a.Desc.Updown, env)
		d.scriptDone <- scriptEnd{k, a.Verb, out, describeExit(ctx, a.Verb, err)}
	}()
}

// runCommand runs a command without a shell: no text of a peer's is ever
// parsed by one. It inherits no descriptors; when its time is up its whole
// process group is killed (adversary.md CTL-08 to CTL-10).
func runCommand(ctx context.Context, argv, env []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if !strings.Contains(argv[0], "/") {
		path, err := lookPath(argv[0])
		if err != nil {
			return nil, err
		}
		cmd.Path, cmd.Err = path, nil
	}
	cmd.Env, cmd.Dir = env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = scriptDrain
	var out bytes.Buffer
	limited := &limitedWriter{w: &out, left: scriptOutput}
	cmd.Stdout, cmd.Stderr = limited, limited
	err := cmd.Run()
	return out.Bytes(), err
}

func lookPath(name string) (string, error) {
	for _, dir := range strings.Split(scriptPath, ":") {
		if path, err := exec.LookPath(dir + "/" + name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("command %q is not in %s", name, scriptPath)
}

// limitedWriter keeps the first octets and swallows the rest.
type limitedWriter struct {
	w    io.Writer
	left int
}

func (l *limitedWriter) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.w.Write(b[:n])
	l.left -= n
	return len(b), nil
}

func describeExit(ctx context.Context, verb string, err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return ""
	case ctx.Err() != nil:
		return fmt.Sprintf("%s command took longer than %v", verb, scriptTime)
	case errors.As(err, &exit) && exit.Exited():
		return fmt.Sprintf("%s command exited with status %d", verb, exit.ExitCode())
	case errors.As(err, &exit):
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return fmt.Sprintf("%s command exited with signal %d", verb, ws.Signal())
		}
	}
	return fmt.Sprintf("%s command: %v", verb, err)
}

// scriptEnded logs what a script said, tells the table, and starts the next.
func (d *Daemon) scriptEnded(e scriptEnd) {
	lines := strings.Split(strings.TrimRight(string(e.output), "\n"), "\n")
	for i, line := range lines {
		if line == "" || i >= scriptLines {
			break
		}
		d.log.Info(fmt.Sprintf("%q: %s output: %s", e.key.name, e.verb, line))
	}
	if e.err != "" {
		d.log.Warn(fmt.Sprintf("%q: %s", e.key.name, e.err))
	}
	if !d.stopping {
		base, _, _ := strings.Cut(e.verb, "-")
		d.stepTable(connection.UpdownDone{Name: e.key.name, Instance: e.key.instance, Verb: base, Err: e.err})
	}
	q := d.scripts[e.key]
	if len(q.waiting) == 0 {
		delete(d.scripts, e.key)
		return
	}
	next := q.waiting[0]
	q.waiting = q.waiting[1:]
	d.startScript(e.key, next)
}

// stopScripts runs what still has to be undone, then waits for all scripts.
func (d *Daemon) stopScripts() {
	for _, v := range d.table.Views() {
		if len(v.Updown) == 0 || !v.State.Routed() {
			continue
		}
		if v.State == connection.Erouted {
			d.runScript(connection.Updown{Desc: v.Description, Verb: v.Verb("down")})
		}
		d.runScript(connection.Updown{Desc: v.Description, Verb: v.Verb("unroute")})
	}
	for len(d.scripts) > 0 {
		d.scriptEnded(<-d.scriptDone)
	}
}

func (d *Daemon) mtuFor(virtual string) int {
	if l := d.linkNamed(virtual); l != nil {
		return d.mtuOf(l)
	}
	return 0
}

// scriptEnv is the whole environment of a script. Values that come from the
// peer are escaped to characters that no shell cares about.
func scriptEnv(a connection.Updown, mtu int) []string {
	c := a.Desc
	env := []string{"PATH=" + scriptPath, "PLUTO_VERSION=1.1", "PLUTO_VERB=" + a.Verb,
		"PLUTO_CONNECTION=" + harmless(c.Name), "PLUTO_INTERFACE=" + c.Virtual,
		"PLUTO_NEXT_HOP=" + c.Hop().String(), "PLUTO_STACK=klips", "PLUTO_CONN_POLICY=" + c.PolicyWords(true),
		"PLUTO_ME=" + c.Local.Addr.String(), "PLUTO_MY_ID=" + harmless(c.Local.ID.String()),
		"PLUTO_PEER=" + c.Remote.Addr.String(), "PLUTO_PEER_ID=" + harmless(c.Remote.ID.String()), "PLUTO_PEER_CA="}
	env = append(env, clientEnv("PLUTO_MY", c.Local.TS)...)
	env = append(env, clientEnv("PLUTO_PEER", c.Remote.TS)...)
	if c.SourceIP.IsValid() {
		env = append(env, "PLUTO_MY_SOURCEIP="+c.SourceIP.String())
	}
	if mtu != 0 {
		env = append(env, "PLUTO_MTU="+strconv.Itoa(mtu))
	}
	if c.Metric != 0 {
		env = append(env, "PLUTO_METRIC="+strconv.Itoa(c.Metric))
	}
	return env
}

// clientEnv describes the first of an end's selectors.
func clientEnv(prefix string, list []ipsec.TS) []string {
	if len(list) == 0 {
		return nil
	}
	ts := list[0]
	var net netip.Prefix
	if p := ts.Prefixes(); len(p) > 0 {
		net = p[0]
	}
	port := ts.Ports.Lo
	if ts.Ports.Any() {
		port = 0
	}
	return []string{
		prefix + "_CLIENT=" + net.String(), prefix + "_CLIENT_NET=" + net.Addr().String(),
		prefix + "_CLIENT_MASK=" + mask(net), prefix + "_PORT=" + strconv.Itoa(int(port)),
		prefix + "_PROTOCOL=" + strconv.Itoa(int(ts.Proto)),
	}
}

// mask is the netmask of p in the form of an address.
func mask(p netip.Prefix) string {
	b := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a.String()
}

// harmless percent-encodes all but letters, digits and a few marks.
func harmless(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("@._:/=,+- ", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
