package uml

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Names in the shared directory. Scripts are called by their number.
const (
	commandExt = ".cmd"
	takenExt   = ".taken"
	outExt     = ".out"
	errExt     = ".err"
	doneExt    = ".done" // holds the exit code
	stopName   = "stop"
)

// shareVar is how process 1 learns where on the host the shared directory is.
const shareVar = "CYGNET_UML_SHARE"

// Share is where the guest sees the shared directory.
const Share = "/mnt"

// Init does nothing on a host. In a guest it never returns: as process 1 it
// sets the machine up, runs the scripts of Guest.Run one after the other, and
// switches off.
func Init() {
	share := os.Getenv(shareVar)
	if os.Getpid() != 1 || share == "" {
		return
	}
	os.Unsetenv(shareVar)
	if err := serve(share); err != nil {
		fmt.Println("init:", err) // to the console
	}
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func serve(share string) error {
	os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	if err := mounts(share); err != nil {
		return err
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := writeWhole(filepath.Join(Share, "ready"), nil); err != nil {
		return err
	}
	for {
		stop, err := step()
		if stop || err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func mounts(share string) error {
	for _, m := range []struct{ kind, at, data string }{
		{"proc", "/proc", ""}, {"sysfs", "/sys", ""}, {"devtmpfs", "/dev", ""}, {"tmpfs", "/run", ""},
		{"hostfs", Share, share},
	} {
		// Some kernels mount devtmpfs by themselves.
		if err := unix.Mount("none", m.at, m.kind, 0, m.data); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s at %s: %w", m.kind, m.at, err)
		}
	}
	// The kernel must not look for modules itself, at the host's place.
	return os.WriteFile("/proc/sys/kernel/modprobe", []byte("\n"), 0)
}

func loadModules() error {
	list, err := os.ReadFile(filepath.Join(Share, "modules"))
	if err != nil {
		return err
	}
	for _, file := range strings.Fields(string(list)) {
		image, err := module(file)
		if err == nil {
			err = unix.InitModule(image, "")
		}
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("module %s: %w", file, err)
		}
	}
	return nil
}

// module reads a module, which some distributions compress.
func module(file string) ([]byte, error) {
	if strings.HasSuffix(file, ".xz") {
		return exec.Command("xz", "-dc", file).Output()
	}
	return os.ReadFile(file)
}

// step runs the scripts that wait.
func step() (stop bool, err error) {
	entries, err := os.ReadDir(Share)
	if err != nil {
		return false, err
	}
	var numbers []int
	for _, e := range entries {
		if e.Name() == stopName {
			return true, nil
		}
		if name, ok := strings.CutSuffix(e.Name(), commandExt); ok {
			if n, err := strconv.Atoi(name); err == nil {
				numbers = append(numbers, n)
			}
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		if err := run(filepath.Join(Share, strconv.Itoa(n))); err != nil {
			return false, err
		}
	}
	return false, nil
}

// run runs the script base.cmd. What it leaves running in the background keeps
// nobody waiting.
func run(base string) error {
	if err := os.Rename(base+commandExt, base+takenExt); err != nil {
		return err
	}
	out, err := os.Create(base + outExt)
	if err != nil {
		return err
	}
	defer out.Close()
	diag, err := os.Create(base + errExt)
	if err != nil {
		return err
	}
	defer diag.Close()
	cmd := exec.Command("/bin/sh", base+takenExt)
	cmd.Stdout, cmd.Stderr = out, diag
	code := 0
	var exit *exec.ExitError
	switch err := cmd.Run(); {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		return err
	}
	return writeWhole(base+doneExt, []byte(strconv.Itoa(code)))
}
