package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const insideEnv = "CYGNET_LAB_USERNS" // the real user's number, in a process that Isolate started

// CanBuild reports whether this process may make network namespaces, which
// takes root or a user namespace.
func CanBuild() bool {
	return onOwnThread(func() error { return unix.Unshare(unix.CLONE_NEWNET) }) == nil
}

// Inside reports whether this process is one that Isolate started.
func Inside() bool { return os.Getenv(insideEnv) != "" }

// RealUID is the number of the user outside any user namespace of ours.
func RealUID() int {
	if uid, err := strconv.Atoi(os.Getenv(insideEnv)); err == nil {
		return uid
	}
	return os.Getuid()
}

// InsideEnv is the environment of a program that is put into namespaces which
// Isolate has made.
func InsideEnv() []string {
	return append(os.Environ(), insideEnv+"="+strconv.Itoa(RealUID()))
}

// Isolate runs this program again, with the same arguments, in a fresh user,
// mount and network namespace, where an ordinary user is root, and returns its
// exit code. The new process must call Settle before it uses the lab.
func Isolate() (exit int, err error) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = InsideEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGTERM,
	}
	// The death signal comes when the thread ends, so it must last.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("start in a user namespace: %w", err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go passOn(signals, cmd.Process, ended)
	err = cmd.Wait()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return failed.ExitCode(), nil
	}
	return 0, err
}

// passOn hands SIGTERM to the inner process. An interrupt from the keyboard
// reaches it by itself.
func passOn(signals <-chan os.Signal, p *os.Process, ended <-chan struct{}) {
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGTERM {
				p.Signal(s)
			}
		case <-ended:
			return
		}
	}
}

// Settle furnishes the namespaces that Isolate made: a private /run, which
// is where names of network namespaces live. Elsewhere it does nothing.
func Settle() error {
	if !Inside() {
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("run", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return nil
}
