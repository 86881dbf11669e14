package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/lab"
)

// standing is a demo that was left standing, as its state file says. A holder
// process keeps the namespaces alive and clears up when it is told to end.
type standing struct {
	Holder    int      `json:"holder"` // process number
	Inside    bool     `json:"inside"` // of a user namespace
	Prefix    string   `json:"prefix"`
	Dir       string   `json:"dir"`
	Hosts     []string `json:"hosts"`
	OwnedBy   int      `json:"uid"`
	StateFile string   `json:"-"`
}

// stateFile is in a directory that only its owner can write to.
func stateFile() (string, error) {
	dir := filepath.Join(os.TempDir(), "cygnet-demo-"+strconv.Itoa(lab.RealUID()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || !fi.IsDir() || int(st.Uid) != os.Getuid() || fi.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s is not a private directory of ours", dir)
	}
	return filepath.Join(dir, "standing.json"), nil
}

// readStanding returns nil without an error if no demo stands.
func readStanding() (*standing, error) {
	path, err := stateFile()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &standing{StateFile: path}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if lab.Gone(s.Holder) {
		os.Remove(path)
		return nil, nil
	}
	return s, nil
}

func nothingStands() error {
	s, err := readStanding()
	if err == nil && s != nil {
		err = errors.New("a demo stands already (`ipsec demo stop' removes it)")
	}
	return err
}

// leave hands a lab over to a holder process and says how to use it.
func leave(l *lab.Lab, binary string, out io.Writer) error {
	path, err := stateFile()
	if err != nil {
		return err
	}
	s := standing{Inside: lab.Inside(), Prefix: l.Prefix(), Dir: l.Dir(), OwnedBy: lab.RealUID()}
	for _, h := range l.Hosts() {
		s.Hosts = append(s.Hosts, h.Name)
	}
	cmd := exec.Command(binary, "demo", "hold", path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the holder: %w", err)
	}
	s.Holder = cmd.Process.Pid
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(out, "The network stands. `ipsec demo shell HOST' enters %s;\nfiles are in %s; `ipsec demo stop' removes it all.\n",
		strings.Join(s.Hosts, ", "), s.Dir)
	return cmd.Process.Release()
}

// newHold is the holder: it waits for SIGTERM and takes the network down.
func newHold() *cobra.Command {
	return &cobra.Command{
		Use:    "hold FILE",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			told := make(chan os.Signal, 1)
			signal.Notify(told, syscall.SIGTERM, os.Interrupt)
			signal.Ignore(syscall.SIGHUP)
			<-told
			s, err := readStanding()
			if err != nil || s == nil {
				return fmt.Errorf("state file: %w", err)
			}
			l, err := lab.Reopen(s.Prefix, s.Dir, s.Hosts)
			if err != nil {
				return err
			}
			return errors.Join(l.Close(), os.RemoveAll(s.Dir), os.Remove(s.StateFile))
		},
	}
}

func newStop() *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Remove a network that --keep has left standing",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := readStanding()
			if err != nil {
				return err
			}
			if s == nil {
				return errors.New("no demo stands")
			}
			if err := syscall.Kill(s.Holder, syscall.SIGTERM); err != nil {
				return fmt.Errorf("stop the holder: %w", err)
			}
			if !lab.WaitFor(20*time.Second, func() bool { return lab.Gone(s.Holder) }) {
				return fmt.Errorf("the holder (process %d) does not end", s.Holder)
			}
			return nil
		},
	}
}

func newShell() *cobra.Command {
	return &cobra.Command{
		Use:   "shell HOST [COMMAND [ARGUMENT...]]",
		Short: "Enter a host of a network that --keep has left standing",
		Long: `shell starts a shell, or COMMAND, inside a host of the standing demo. On a
gateway, ipsec commands there speak to that gateway.`,
		Args:               cobra.MinimumNArgs(1),
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "-h" || args[0] == "--help" {
				return cmd.Help()
			}
			return shell(args[0], args[1:])
		},
	}
}

// shell ends the process with the exit code of the shell.
func shell(host string, command []string) error {
	s, err := readStanding()
	if err != nil {
		return err
	}
	if s == nil {
		return errors.New("no demo stands (`ipsec demo --keep' leaves one standing)")
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	if s.Inside && !lab.Inside() {
		// A Go program has many threads and cannot enter a user namespace;
		// nsenter can, and starts this program again in there.
		args := []string{"nsenter", "-t", strconv.Itoa(s.Holder), "-U", "-m", "--preserve-credentials",
			binary, "demo", "shell", host}
		path, err := exec.LookPath("nsenter")
		if err != nil {
			return err
		}
		return syscall.Exec(path, append(args, command...), lab.InsideEnv())
	}
	l, err := lab.Reopen(s.Prefix, s.Dir, s.Hosts)
	if err != nil {
		return err
	}
	h := l.Host(host)
	if h == nil {
		return fmt.Errorf("no host %q: there are %s", host, strings.Join(s.Hosts, ", "))
	}
	code, err := enterHost(h, binary, command)
	if err != nil {
		return err
	}
	os.Exit(code)
	return nil
}

func enterHost(h *lab.Host, binary string, command []string) (int, error) {
	if len(command) == 0 {
		command = []string{"/bin/sh"}
	}
	g, err := lab.NewGateway(h, binary)
	if err != nil {
		return 0, err
	}
	bin, err := g.CommandDir()
	if err != nil {
		return 0, err
	}
	os.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), g.Env()...)
	cmd.Env = append(cmd.Env, "PS1="+h.Name+"# ")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signal.Ignore(os.Interrupt) // it is the shell's
	if err := h.Do(cmd.Start); err != nil {
		return 0, err
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	return cmd.ProcessState.ExitCode(), nil
}
