package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"cygnet/internal/whack"
)

// exitError ends the process with code; err is printed unless nil.
type exitError struct {
	code whack.Exit
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func fail(code whack.Exit, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

// ended is the error of a command whose daemon answered with a final exit
// code, nil if that is 0; what went wrong has been printed by then.
func ended(code whack.Exit) error {
	if code == whack.ExitDone {
		return nil
	}
	return &exitError{code: code}
}

// newHelp replaces cobra's help so that topics which are no commands can be
// read as well.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | exit-codes | ipsec.conf | ipsec.secrets | json | PARAMETER]",
		Short: "Explain a command, a file, a parameter of ipsec.conf, or the exit codes",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "exit-codes" {
				fmt.Fprint(cmd.OutOrStdout(), exitTable())
				return nil
			}
			if len(args) == 1 && explain(cmd.OutOrStdout(), args[0]) {
				return nil
			}
			target, rest, err := root.Find(args)
			if target == root && len(args) == 1 && explainParameter(cmd.OutOrStdout(), args[0]) {
				return nil
			}
			if err != nil || len(rest) > 0 {
				return fail(whack.ExitUsage, "no help on `%s'", strings.Join(args, " "))
			}
			return target.Help()
		},
	}
}

func exitTable() string {
	var b strings.Builder
	for _, e := range whack.Exits() {
		fmt.Fprintf(&b, "%3d  %s\n", e, e.Meaning())
	}
	return b.String()
}
