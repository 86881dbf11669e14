package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"cygnet/internal/config"
)

// R12.7: what setup says goes to syslog at the facility and priority of
// syslog=, and at daemon.error without it. The daemon's own lines are authpriv's
// whatever syslog= says.
func TestSyslogLabels(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: file, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for text, want := range map[string]string{
		"":                       "<27>",  // daemon 3, error 3
		"\tsyslog=local3.notice": "<157>", // local3 19, notice 5
		"\tsyslog=authpriv.info": "<86>",  // authpriv 10, info 6
	} {
		f := config.ParseText("ipsec.conf", "version 2\nconfig setup\n\tinterfaces=%none\n"+text+"\n")
		var diag bytes.Buffer
		s := &setup{conf: &f.Setup, diag: &diag, syslogNet: "unixgram", syslogAddr: file}
		s.progress("Starting %s...", "it")
		b := make([]byte, 1024)
		n, err := l.Read(b)
		if line := string(b[:n]); err != nil || !strings.HasPrefix(line, want) || !strings.Contains(line, "ipsec_setup[") || !strings.Contains(line, "Starting it...") {
			t.Errorf("%q: %q, %v", text, line, err)
		}
		if diag.String() != "Starting it...\n" {
			t.Errorf("on standard error: %q", diag.String())
		}
	}
	if journalFields["SYSLOG_FACILITY"] != "10" || journalFields["SYSLOG_IDENTIFIER"] != "pluto" {
		t.Errorf("the daemon's lines are labelled %v", journalFields)
	}
}

// --showonly prints the work of a start as commands that exist, and does nothing.
func TestSetupShow(t *testing.T) {
	conf := gateway(t)
	key := "\n\tspi=0x2%02d\n\tesp=aes128-sha1\n\tespenckey=0x000102030405060708090a0b0c0d0e0f\n\tespauthkey=0x000102030405060708090a0b0c0d0e0f10111213\n"
	ends := "\n\tleft=192.0.2.1\n\tright=198.51.100.1\n\tauthby=secret"
	text := "version 2\nconfig setup\n\tinterfaces=\"ipsec0=eth0 ipsec1=ppp0\"\n\tforwardcontrol=yes\n\tprepluto=\"mount /keys\"\n\tmanualstart=\"b\"\n" +
		"conn a" + ends + fmt.Sprintf(key, 1) + "\tauto=manual\nconn b" + ends + fmt.Sprintf(key, 2) +
		"conn c" + ends + "\n\tauto=add\nconn d" + ends + "\n\tauto=route\nconn e" + ends + "\n\tauto=start\nconn f" + ends + "\n\tauto=ignore\n"
	if err := os.WriteFile(filepath.Join(conf, "ipsec.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := `	mount /keys
	ipsec pluto --background
	ipsec tncfg --attach --virtual ipsec0 --physical eth0
	ipsec tncfg --attach --virtual ipsec1 --physical ppp0
	sysctl net.ipv4.ip_forward=1
	ipsec manual --up b
	ipsec manual --up a
	ipsec auto --add c
	ipsec auto --add d
	ipsec auto --add e
	ipsec auto --ready
	ipsec auto --route d
	ipsec auto --route e
	ipsec auto --asynchronous --up e
`
	for _, op := range []string{"start", "restart", "--start"} {
		if r := runIpsec(t, "setup", "--showonly", op); r.code != 0 || r.out != want || r.err != "" {
			t.Errorf("%s: exit %d\n%s%s", op, r.code, r.out, r.err)
		}
	}
	stop := runIpsec(t, "setup", "--showonly", "stop")
	if stop.code != 0 || !strings.Contains(stop.out, "\tipsec whack --shutdown\n") || !strings.Contains(stop.out, "--detach --virtual ipsec1") {
		t.Errorf("stop: exit %d\n%s", stop.code, stop.out)
	}
	root := newRoot()
	for line := range strings.Lines(want + stop.out) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "ipsec ") {
			if why := exists(root, line); why != "" {
				t.Errorf("%s: %s", line, why)
			}
		}
	}
	if r := runIpsec(t, "setup", "--show", "status"); r.code != 2 {
		t.Errorf("with status: exit %d", r.code)
	}
	if r := runIpsec(t, "setup", "status"); r.code != 3 {
		t.Errorf("something was started: exit %d %s", r.code, r.out)
	}
}

// R12.9: no core dumps, and no looking into our memory; with dumpdir= they go
// there; and one that does not exist is said and ignored. Limits belong to the
// process, so each case is a process of its own.
func TestCoreDumps(t *testing.T) {
	if dir, asked := os.LookupEnv("CYGNET_TEST_DUMPDIR"); asked {
		err := keepSecrets(dir, slog.New(slog.NewTextHandler(os.Stdout, nil)))
		var core unix.Rlimit
		unix.Getrlimit(unix.RLIMIT_CORE, &core)
		dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		wd, _ := os.Getwd()
		fmt.Printf("RESULT err=%v unlimited=%v none=%v dumpable=%d in=%s\n", err, core.Cur == unix.RLIM_INFINITY, core.Cur == 0 && core.Max == 0, dumpable, wd)
		return
	}
	dir := t.TempDir()
	var now unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_CORE, &now)
	for given, want := range map[string][]string{
		"":                           {"err=<nil> unlimited=false none=true dumpable=0"},
		dir:                          {"err=<nil> unlimited=true none=false dumpable=1 in=" + dir},
		filepath.Join(dir, "absent"): {"err=<nil> unlimited=false none=true dumpable=0", "dumpdir=: no core dumps will be written"},
	} {
		if given == dir && now.Max != unix.RLIM_INFINITY && os.Geteuid() != 0 {
			continue // an ordinary user cannot raise what is forbidden, see the error below
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestCoreDumps$")
		cmd.Env = append(os.Environ(), "CYGNET_TEST_DUMPDIR="+given)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, w := range want {
			if !strings.Contains(string(out), w) {
				t.Errorf("dumpdir=%s: no %q in\n%s", given, w, out)
			}
		}
	}
}
