package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// What makes TestMain the command itself: its arguments, and perhaps that the
// kernel gives no randomness.
const (
	childArgs   = "CYGNET_TEST_ARGS"
	childNoRand = "CYGNET_TEST_NO_GETRANDOM"
)

// TestMain is also the program under test, for what ends a whole process or
// depends on how one was begun.
func TestMain(m *testing.M) {
	args, ok := os.LookupEnv(childArgs)
	if !ok {
		os.Exit(m.Run())
	}
	if os.Getenv(childNoRand) != "" {
		if err := denyGetrandom(); err != nil {
			fmt.Fprintln(os.Stderr, "test:", err)
			os.Exit(99)
		}
	}
	os.Exit(run(context.Background(), strings.Split(args, "\n"), os.Stdout, os.Stderr))
}

// denyGetrandom has getrandom(2) fail with EIO for all threads. The vDSO's takes
// its key from the system call, so that it fails as well.
func denyGetrandom() error {
	machine, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	code, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 4}, // seccomp_data.nr
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(unix.SYS_GETRANDOM), SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EIO)},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		return fmt.Errorf("filter for %s: %w", machine.Name, err)
	}
	filter := make([]unix.SockFilter, len(code))
	for i, c := range code {
		filter[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	load := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	// TSYNC wants no_new_privs of this thread alone; the others get it with the filter.
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&load)))
	if errno != 0 || thread != 0 {
		return fmt.Errorf("load a filter: %w, thread %d", errno, thread)
	}
	return nil
}

// child runs a command in a process of its own, with more in its environment.
func child(t *testing.T, env []string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), childArgs+"="+strings.Join(args, "\n")), env...)
	var out, says strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &says
	err = cmd.Run()
	return out.String(), says.String(), err
}

// A kernel that gives no randomness ends the process before it has printed or
// written a key; nothing takes its place. Who asks whom for randomness is Go's
// crypto/rand everywhere: see TestOneSourceOfRandomness (CRY-25).
func TestNoGetrandom(t *testing.T) {
	dir := t.TempDir()
	secrets := filepath.Join(dir, "ipsec.secrets")
	for _, args := range [][]string{
		{"ranbits", "256"},
		{"rsasigkey", "2192"},
		{"newhostkey", "--output", secrets},
	} {
		if out, says, err := child(t, nil, args...); err != nil || strings.TrimSpace(out+says) == "" {
			t.Errorf("%q with randomness: %v\n%s%s", args, err, out, says)
		}
		os.Remove(secrets)
		out, says, err := child(t, []string{childNoRand + "=1"}, args...)
		if err == nil || out != "" || !strings.Contains(says, "fatal error: crypto/rand: failed to read random data") || !strings.Contains(says, "input/output error") {
			t.Errorf("%q without randomness: %v\n%s%s", args, err, out, says)
		}
		if b, err := os.ReadFile(secrets); err == nil && len(b) > 0 {
			t.Errorf("%q wrote %d octets without randomness", args, len(b))
		}
	}
}

// Under GODEBUG=fips140=only, where MD5, 3DES and X25519 panic or fail in the
// middle of an exchange, a configuration with them is refused in one line before
// anything is negotiated, and so is one without: IKE itself needs SHA-1 (CRY-03).
func TestFIPSOnly(t *testing.T) {
	for _, c := range newRoot().Commands() {
		if c.PersistentPreRunE != nil || c.PersistentPreRun != nil {
			t.Errorf("%s goes around what is refused for all commands", c.Name())
		}
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "ipsec.conf")
	write := func(algorithms string) {
		t.Helper()
		text := "version 2.0\nconn net\n\tleft=192.0.2.1\n\tright=192.0.2.2\n\tauthby=secret\n\tauto=add\n" + algorithms
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"IPSEC_CONFS=" + dir, "IPSEC_RUNDIR=" + dir, "IPSEC_STATEDIR=" + dir}
	for _, algorithms := range []string{
		"",
		"\tike=aes128-sha2_256;x25519\n",
		"\tike=3des-md5;modp1536\n\tesp=3des-md5\n\tkeyexchange=ikev1\n",
	} {
		write(algorithms)
		for _, args := range [][]string{{"check", conf}, {"auto", "--up", "net"}} {
			out, says, err := child(t, append(env, "GODEBUG=fips140=only"), args...)
			if err == nil || out != "" || strings.Count(says, "\n") != 1 || !strings.Contains(says, "GODEBUG=fips140=only forbids SHA-1") || !strings.Contains(says, "use GODEBUG=fips140=on") {
				t.Errorf("%q with %q: %v\n%s%s", args, algorithms, err, out, says)
			}
		}
		out, says, err := child(t, append(env, "GODEBUG=fips140=on"), "check", conf)
		if strings.Contains(says, "panic") || strings.Contains(says, "fips140") {
			t.Errorf("fips140=on with %q: %v\n%s%s", algorithms, err, out, says)
		}
	}
}
