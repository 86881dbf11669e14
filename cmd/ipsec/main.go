// Command ipsec is the whole of Cygnet: the key daemon, the data plane and the
// command family of FreeS/WAN in one static binary. Each command has a file of
// its own here and does little beyond reading its arguments: what a running
// daemon knows is asked of it over the control socket (package whack), and what
// files say is read by package config.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"cygnet/internal/suite"
	"cygnet/internal/whack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes one command line and returns its exit code. What fails before it
// has printed anything says so in JSON too, where --json was asked for.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root, answer := newRoot(), &answer{Writer: stdout}
	root.SetArgs(args)
	root.SetOut(answer)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return int(whack.ExitDone)
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = classify(cmd, err)
	}
	if exit.err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", strings.TrimPrefix(cmd.CommandPath(), "ipsec "), exit.err)
		if on, err := cmd.Flags().GetBool("json"); err == nil && on {
			answer.failed(exit)
		}
	}
	return int(exit.code)
}

// answer is standard output. It knows whether anything has been printed.
type answer struct {
	io.Writer
	begun bool
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = a.begun || len(b) > 0
	return a.Writer.Write(b)
}

// failed says in JSON why a command has ended, unless it has answered already:
// an answer is one JSON value.
func (a *answer) failed(exit *exitError) {
	if !a.begun {
		_ = json.NewEncoder(a).Encode(outcome{exit.code, exit.code.String(), exit.err.Error()})
	}
}

// classify gives an error of the command-line parser its exit code: an unknown
// command is 1, as the FreeS/WAN dispatcher had it; wrong words for a command
// are usage, 2. Errors of commands themselves never come here, see failing.
func classify(cmd *cobra.Command, err error) *exitError {
	if !cmd.HasParent() {
		return &exitError{whack.ExitFailed, err}
	}
	return &exitError{whack.ExitUsage, fmt.Errorf("%w\nUsage: %s", err, cmd.UseLine())}
}

// failing makes every error of a command that has no exit code of its own a
// failure, so that it is not taken for a wrong command line.
func failing(c *cobra.Command) {
	for _, sub := range c.Commands() {
		failing(sub)
	}
	run := c.RunE
	if run == nil {
		return
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		var exit *exitError
		if err == nil || errors.As(err, &exit) {
			return err
		}
		return &exitError{whack.ExitFailed, err}
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "ipsec COMMAND [ARGUMENT...]",
		Short: "IPsec for Linux in the manner of FreeS/WAN",
		Long: `ipsec joins networks and hosts across the Internet with IPsec.

It reads /etc/ipsec.conf and /etc/ipsec.secrets, negotiates by IKE and carries
traffic through a device called ipsec0. ` + "`ipsec demo'" + ` shows a whole tunnel
working on this machine without touching its network.

Variables of the environment name other places, for several gateways on one
machine: IPSEC_CONFS for ipsec.conf, ipsec.secrets and ipsec.d (/etc),
IPSEC_RUNDIR for what belongs to a running daemon (/run/pluto), IPSEC_STATEDIR
for what outlives a boot (/var/lib/ipsec).`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown IPsec command `%s' (`ipsec --help' for list)", args[0])
			}
			return nil
		},
		RunE: runRoot,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if err := suite.FIPSOnly(); err != nil {
				return fail(whack.ExitFailed, "%w", err)
			}
			return nil
		},
	}
	flags := root.Flags()
	flags.Bool("version", false, "print the version and the data plane")
	flags.Bool("versioncode", false, "print only the version number")
	flags.Bool("copyright", false, "print the licence")
	flags.Bool("directory", false, "print the directory of this binary")
	flags.Bool("confdir", false, "print the configuration directory")
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(commands()...)
	root.SetHelpCommand(newHelp(root))
	for _, c := range root.Commands() {
		addVersionFlag(c)
		failing(c)
	}
	return root
}

func runRoot(cmd *cobra.Command, _ []string) error {
	out := cmd.OutOrStdout()
	for _, question := range []struct {
		flag   string
		answer func() string
	}{
		{"version", versionText},
		{"versioncode", func() string { return version() }},
		{"copyright", func() string { return copyright }},
		{"directory", executableDir},
		{"confdir", func() string { return where().conf }},
	} {
		if on, _ := cmd.Flags().GetBool(question.flag); on {
			fmt.Fprintln(out, question.answer())
			return nil
		}
	}
	fmt.Fprint(out, `Usage: ipsec command argument ...
`+"`ipsec --help'"+` lists the commands, `+"`ipsec COMMAND --help'"+` explains one.
`+"`ipsec demo'"+` shows two gateways and a live tunnel on this machine.
`+"`ipsec verify'"+` looks at this machine and says what is missing.
See also ipsec(8), ipsec.conf(5) and ipsec.secrets(5).
`)
	return nil
}

// addVersionFlag gives every subcommand the --version of the old suite.
func addVersionFlag(c *cobra.Command) {
	if c.Flags().Lookup("version") == nil && !c.DisableFlagParsing {
		c.Version = version()
		c.SetVersionTemplate("ipsec {{.Name}} {{.Version}}\n")
		c.InitDefaultVersionFlag()
	}
}
