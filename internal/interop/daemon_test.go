package interop

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
)

// canary is a secret that must be nowhere but in ipsec.secrets.
const canary = "kQ7vZp2LxW9sRt4BnJ6hYc3MfD8gUa5E"

const pairConf = `version 2.0
config setup
	interfaces=%%defaultroute
%sconn net
	left=101.101.101.101
	leftsubnet=192.168.100.0/24
	right=202.202.202.202
	rightsubnet=192.168.200.0/24
	authby=secret
	auto=%s
%s`

// process is a daemon of ours in the foreground.
type process struct {
	*lab.Process
	lab  *lab.Lab // of ours
	gate *lab.Gateway
	pid  int
	log  string
}

// ours builds the manual's network with a daemon of ours on west and on east,
// and returns west's once the tunnel is up.
func ours(t *testing.T) *process { return oursWith(t, "", "") }

// oursWith is ours with more lines in config setup and in the conn of west.
func oursWith(t *testing.T, setup, conn string, begun ...func(west *process)) *process {
	t.Helper()
	l := labtest.New(t, "kd")
	if err := lab.BuildManual(l, nil); err != nil {
		t.Fatal(err)
	}
	var west *process
	for _, x := range []struct{ name, setup, auto, conn string }{{"east", "", "add", ""}, {"west", setup, "start", conn}} {
		g, err := lab.NewGateway(l.Host(x.name), labtest.Binary(t))
		if err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"ipsec.conf": fmt.Sprintf(pairConf, x.setup, x.auto, x.conn), "ipsec.secrets": "101.101.101.101 202.202.202.202 : PSK \"" + canary + "\"\n"} {
			if err := g.Write(file, text); err != nil {
				t.Fatal(err)
			}
		}
		west = foreground(t, g)
		west.lab = l
	}
	for _, f := range begun {
		f(west)
	}
	west.up(t)
	return west
}

// foreground runs ipsec pluto until the end of the test.
func foreground(t *testing.T, g *lab.Gateway) *process {
	t.Helper()
	cmd := exec.Command(g.Binary, "pluto")
	cmd.Env = append(os.Environ(), g.Env()...)
	cmd.Dir = g.Dir // where a core would be
	p := &process{gate: g, log: filepath.Join(g.Dir, "foreground.log")}
	var err error
	if p.Process, err = g.Start(cmd, p.log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(10 * time.Second) })
	p.pid = cmd.Process.Pid
	return p
}

func (p *process) up(t *testing.T) {
	t.Helper()
	ok := lab.WaitFor(20*time.Second, func() bool {
		r, err := p.gate.Ipsec(t.Context(), "eroute")
		return err == nil && strings.Contains(r.Stdout, "@202.202.202.202")
	})
	if !ok {
		t.Fatalf("no tunnel\n%s", p.said(t))
	}
}

func (p *process) said(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(p.pid, s); err != nil {
		t.Fatal(err)
	}
}

func (p *process) ends(t *testing.T, limit time.Duration) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(limit):
		t.Fatalf("the daemon goes on\n%s", p.said(t))
	}
}

// tells reports whether text has a part of the canary, as text, as hexadecimal
// octets or as a word of a traceback.
func tells(text string) string {
	text = strings.ToLower(text)
	for i := 0; i+8 <= len(canary); i++ {
		part := canary[i : i+8]
		word := binary.LittleEndian.Uint64([]byte(part))
		for _, form := range []string{strings.ToLower(part), fmt.Sprintf("%x", part), fmt.Sprintf("0x%x", word)} {
			if strings.Contains(text, form) {
				return form
			}
		}
	}
	return ""
}

// A daemon that ends with a traceback leaves no core, and its last words hold no
// secret.
func TestAdv_CTL_14_LastWords(t *testing.T) {
	for _, text := range []string{canary[3:12], fmt.Sprintf("%X", canary), fmt.Sprintf("f(%#x, 0x8)", binary.LittleEndian.Uint64([]byte(canary[8:])))} {
		if tells(text) == "" {
			t.Fatalf("nothing is found in %s", text)
		}
	}
	p := ours(t)
	for _, s := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGSEGV} {
		p.signal(t, s)
		p.ends(t, 10*time.Second)
		said := p.said(t)
		if !strings.Contains(said, "goroutine ") {
			t.Errorf("%v: no traceback\n%s", s, said)
		}
		if form := tells(said); form != "" {
			t.Errorf("%v: the last words have %s of the secret", s, form)
		}
		if cores, _ := filepath.Glob(filepath.Join(p.gate.Dir, "*core*")); len(cores) != 0 {
			t.Errorf("%v: left %v", s, cores)
		}
		p = foreground(t, p.gate)
		p.up(t)
	}
}

// What /proc tells of the daemon: nothing that matters to others, and no secret
// to anybody.
func TestAdv_CTL_15_Proc(t *testing.T) {
	labtest.Need(t, os.Geteuid() == 0, "root, who alone can be another user")
	p := ours(t)
	dir := fmt.Sprintf("/proc/%d/", p.pid)
	asNobody := func(name string) error {
		cmd := exec.Command("/bin/cat", name)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return cmd.Run()
	}
	labtest.Need(t, asNobody("/proc/self/environ") == nil, "a user namespace with more than one user")
	for _, name := range []string{"environ", "mem", "maps", "smaps", "auxv", "stack", "io", "fd/0", "map_files", "syscall"} {
		if err := asNobody(dir + name); err == nil {
			t.Errorf("anybody can read %s", name)
		}
	}
	if info, err := os.Stat(dir + "environ"); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("%v, %v", info, err)
	}
	for _, name := range []string{"environ", "cmdline", "comm", "status"} {
		b, err := os.ReadFile(dir + name)
		if err != nil || len(b) == 0 {
			t.Errorf("%s: %d octets, %v", name, len(b), err)
		}
		if form := tells(string(b)); form != "" {
			t.Errorf("%s has %s of the secret", name, form)
		}
	}
	limits, err := os.ReadFile(dir + "limits")
	if err != nil || !strings.Contains(string(limits), "Max core file size        0                    0") {
		t.Errorf("%v\n%s", err, limits)
	}
}

// SIGHUP reads the files again and SIGPIPE is nothing, nor is a log whose reader has
// gone, with the tunnel as it was;
// SIGTERM, and SIGINT twice, is an orderly end that takes back what was set up.
func TestAdv_CRS_04_Signals(t *testing.T) {
	p := ours(t)
	tunnel := func() string {
		r, err := p.gate.Ipsec(t.Context(), "spi")
		if err != nil {
			t.Fatal(err)
		}
		ids := ""
		for line := range strings.Lines(r.Stdout) {
			id, _, _ := strings.Cut(line, " ")
			ids += id + "\n"
		}
		return ids
	}
	before := tunnel()
	p.signal(t, syscall.SIGPIPE)
	p.signal(t, syscall.SIGHUP)
	if !lab.WaitFor(10*time.Second, func() bool { return strings.Count(p.said(t), "loading secrets") == 2 }) {
		t.Errorf("no word of the reload\n%s", p.said(t))
	}
	if after := tunnel(); after != before || before == "" {
		t.Errorf("SAs before\n%safter\n%s", before, after)
	}
	for _, list := range [][]syscall.Signal{{syscall.SIGTERM}, {syscall.SIGINT, syscall.SIGINT}} {
		for _, s := range list {
			p.signal(t, s)
		}
		p.ends(t, 5*time.Second)
		if said := p.said(t); !strings.Contains(said, "shutting down") || strings.Contains(said, "goroutine ") {
			t.Errorf("%v\n%s", list, said)
		}
		r, err := p.gate.Run(t.Context(), nil, "ip", "-o", "link")
		if err != nil || strings.Contains(r.Stdout, "ipsec0") {
			t.Errorf("%v: left behind: %s, %v", list, r.Stdout, err)
		}
		p = foreground(t, p.gate)
		p.up(t)
	}
	p.signal(t, syscall.SIGTERM)
	p.ends(t, 5*time.Second)
	cmd := exec.Command("/bin/sh", "-c", "\"$0\" pluto 2>&1 | true", p.gate.Binary)
	cmd.Env = append(os.Environ(), p.gate.Env()...)
	deaf, err := p.gate.Start(cmd, p.log)
	if err != nil {
		t.Fatal(err)
	}
	p.up(t)
	if _, err := p.gate.Ipsec(t.Context(), "whack", "--shutdown"); err != nil {
		t.Error(err)
	}
	<-deaf.Done()
}
