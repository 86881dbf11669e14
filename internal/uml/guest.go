package uml

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"cygnet/internal/lab"
)

// Options say what to boot.
type Options struct {
	Host     *lab.Host // the guest's processes and its tap live in this namespace
	Tap      string    // name of the tap device, which Boot makes
	Addr     netip.Prefix
	Modules  []string // to load, by name; nothing is loaded on demand
	MemoryMB int      // 0: 256
}

// Guest is a running kernel. Its methods may not be called concurrently.
type Guest struct {
	o     Options
	dir   string // on the host
	share string // in dir, what both sides see
	proc  *lab.Process
	rest  func() // ends what keeps the network card awake
	runs  int
}

const (
	bootTime = 90 * time.Second // a busy machine needs a tenth of it
	stopTime = 10 * time.Second
)

// Boot starts a guest and waits until it takes commands. The tap device gets
// o.Addr and is up; the guest's end, vec0, is left to the caller's scripts.
func Boot(ctx context.Context, o Options) (*Guest, error) {
	k, err := Find()
	if err != nil {
		return nil, err
	}
	files, err := moduleFiles(k.Modules, o.Modules)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	g := &Guest{o: o, dir: filepath.Join(o.Host.Dir, "uml"), rest: func() {}}
	g.share = filepath.Join(g.dir, "share")
	if err := g.prepare(files); err != nil {
		return nil, fmt.Errorf("prepare a guest: %w", err)
	}
	// The layout of addresses is fixed, since the kernel counts a gap between
	// its image and its heap as memory of the guest.
	cmd := exec.Command("setarch", append([]string{"-R", k.Path}, g.arguments(self)...)...)
	cmd.Env = append(os.Environ(), "HOME="+g.dir, "TMPDIR="+g.memoryDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if g.proc, err = o.Host.Start(cmd, g.console()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, bootTime)
	defer cancel()
	if err := g.await(ctx, "ready"); err != nil {
		g.kill()
		return nil, fmt.Errorf("boot: %w", err)
	}
	if o.Tap != "" {
		if g.rest, err = wake(o.Host, o.Tap); err != nil {
			g.kill()
			return nil, err
		}
	}
	return g, nil
}

// memoryDir is where the file is that serves as the guest's memory. On a disk
// it would be slow.
func (g *Guest) memoryDir() string {
	const shm = "/dev/shm"
	if _, err := os.Stat(shm); err == nil {
		return shm
	}
	return g.dir
}

func (g *Guest) console() string { return filepath.Join(g.dir, "console") }

// arguments are the kernel's command line. Words with a dot belong to drivers,
// others with an equals sign that the kernel does not know are the environment
// of process 1.
func (g *Guest) arguments(init string) []string {
	mem := g.o.MemoryMB
	if mem == 0 {
		mem = 256
	}
	args := []string{
		"mem=" + strconv.Itoa(mem) + "M", "umid=guest", "uml_dir=" + g.dir,
		"root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "init=" + init,
		"con=null", "con0=fd:0,fd:1", "quiet", "loglevel=3", "panic=1",
		shareVar + "=" + g.share,
	}
	if g.o.Tap != "" {
		args = append(args, "vec0:transport=tap,ifname="+g.o.Tap+",depth=64,gro=0,vec=0")
	}
	return args
}

// prepare makes the shared directory and the tap device.
func (g *Guest) prepare(modules []string) error {
	if err := os.MkdirAll(g.share, 0o755); err != nil {
		return err
	}
	list := strings.Join(modules, "\n")
	if err := os.WriteFile(filepath.Join(g.share, "modules"), []byte(list), 0o644); err != nil {
		return err
	}
	if g.o.Tap == "" {
		return nil
	}
	err := g.o.Host.Do(func() error {
		tap := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: g.o.Tap}, Mode: netlink.TUNTAP_MODE_TAP}
		if err := netlink.LinkAdd(tap); err != nil {
			return fmt.Errorf("tap device %s: %w", g.o.Tap, err)
		}
		for _, f := range tap.Fds { // the device stays, and waits for the guest
			f.Close()
		}
		return nil
	})
	if err == nil && g.o.Addr.IsValid() {
		err = g.o.Host.AddAddr(g.o.Tap, g.o.Addr)
	}
	if err == nil {
		err = g.o.Host.Up(g.o.Tap)
	}
	return err
}

// Run runs a shell script in the guest as root. An exit code other than 0 is
// not an error.
func (g *Guest) Run(ctx context.Context, script string) (lab.Result, error) {
	g.runs++
	name := strconv.Itoa(g.runs)
	if err := writeWhole(filepath.Join(g.share, name+commandExt), []byte(script)); err != nil {
		return lab.Result{}, err
	}
	if err := g.await(ctx, name+doneExt); err != nil {
		return lab.Result{}, fmt.Errorf("run in the guest: %w", err)
	}
	var r lab.Result
	for _, f := range []struct {
		ext string
		to  *string
	}{{outExt, &r.Stdout}, {errExt, &r.Stderr}} {
		b, err := os.ReadFile(filepath.Join(g.share, name+f.ext))
		if err != nil {
			return r, err
		}
		*f.to = string(b)
	}
	code, err := os.ReadFile(filepath.Join(g.share, name+doneExt))
	if err != nil {
		return r, err
	}
	r.Exit, err = strconv.Atoi(string(code))
	return r, err
}

// writeWhole makes a file that nobody sees half written.
func writeWhole(name string, b []byte) error {
	if err := os.WriteFile(name+".part", b, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".part", name)
}

var errGone = errors.New("the guest has ended")

// await waits for a file in the shared directory. An error tells what the guest
// said last.
func (g *Guest) await(ctx context.Context, name string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(filepath.Join(g.share, name)); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w; console: %s", ctx.Err(), g.said())
		case <-g.proc.Done():
			return fmt.Errorf("%w; console: %s", errGone, g.said())
		}
	}
}

// said is the end of what the guest wrote to its console.
func (g *Guest) said() string {
	b, err := os.ReadFile(g.console())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// Stop switches the guest off. The tap device stays with the namespace.
func (g *Guest) Stop() error {
	g.rest()
	err := writeWhole(filepath.Join(g.share, stopName), nil)
	if err == nil {
		select {
		case <-g.proc.Done():
		case <-time.After(stopTime):
			err = fmt.Errorf("the guest does not stop; console: %s", g.said())
		}
	}
	g.kill()
	return err
}

// kill ends all processes of the guest, of which a kernel in user mode has
// several, all in the session of the first.
func (g *Guest) kill() {
	if !lab.Gone(g.proc.Pid) {
		syscall.Kill(-g.proc.Pid, syscall.SIGKILL)
		<-g.proc.Done()
	}
}
