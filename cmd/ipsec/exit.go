package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes of auto, manual, setup, check and the short verbs (contract).
const (
	exitOK         = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNotRunning = 3
	exitPermission = 4
	exitNoConn     = 5
	exitConfig     = 6
	exitProposal   = 10
	exitAuth       = 11
	exitSilent     = 12
	exitSelectors  = 13
	exitPlane      = 14
)

var exitMeanings = []struct {
	code int
	text string
}{
	{exitOK, "done"},
	{exitFailed, "failed"},
	{exitUsage, "usage: the words of the command line are wrong"},
	{exitNotRunning, "not running: no daemon answers on the control socket"},
	{exitPermission, "not permitted: run it as root"},
	{exitNoConn, "no such connection"},
	{exitConfig, "bad configuration (file:line is printed)"},
	{exitProposal, "peer refused the proposal: no common algorithm"},
	{exitAuth, "authentication failed"},
	{exitSilent, "peer silent"},
	{exitSelectors, "traffic selectors refused"},
	{exitPlane, "data plane error"},
}

// exitError ends the process with code; err is printed unless nil.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func fail(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

// newHelp replaces cobra's help so that topics which are no commands can be
// read as well.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | exit-codes]",
		Short: "Explain a command, or the exit codes",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "exit-codes" {
				fmt.Fprint(cmd.OutOrStdout(), exitTable())
				return nil
			}
			target, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return fail(exitUsage, "no help on `%s'", strings.Join(args, " "))
			}
			return target.Help()
		},
	}
}

func exitTable() string {
	var b strings.Builder
	for _, m := range exitMeanings {
		fmt.Fprintf(&b, "%3d  %s\n", m.code, m.text)
	}
	return b.String()
}
