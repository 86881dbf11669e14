package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"cygnet/internal/whack"
)

// printing says how replies of the daemon are shown.
type printing struct {
	verbose bool // log copies (class 002) too
	json    bool
}

// ask sends a request to the running daemon, prints its replies as they come,
// and returns an error that carries the exit code.
func ask(cmd *cobra.Command, r whack.Request, how printing) error {
	final, err := whack.Ask(cmd.Context(), where().socket(), r, func(reply whack.Reply) {
		if !how.json {
			how.print(cmd, reply)
		}
	})
	if err != nil {
		return &exitError{whack.ExitFor(final, err), err}
	}
	switch {
	case !how.json:
		how.print(cmd, final)
	case r.Op.Reading() && final.Exit == whack.ExitDone:
		fmt.Fprintln(cmd.OutOrStdout(), string(final.JSON))
	default:
		outcome, err := json.Marshal(outcome{final.Exit, final.Reason, final.Text})
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), string(outcome))
	}
	return ended(final.Exit)
}

// outcome is what --json prints of an operation that does something, and of a
// reading one that fails.
type outcome struct {
	Exit   whack.Exit `json:"exit"`
	Reason string     `json:"reason,omitempty"`
	Text   string     `json:"text,omitempty"`
}

func (how printing) print(cmd *cobra.Command, reply whack.Reply) {
	if reply.Text == "" || reply.Code == whack.CodeLog && !how.verbose {
		return
	}
	out := cmd.OutOrStdout()
	if reply.Final && reply.Exit != whack.ExitDone {
		out = cmd.ErrOrStderr()
	}
	fmt.Fprintf(out, "%03d %s\n", reply.Code, reply.Text)
}

// fetch asks a reading operation and decodes what the daemon found.
func fetch[T any](cmd *cobra.Command, op whack.Op) (T, error) {
	return fetchBy[T](cmd, whack.Request{Op: op})
}

// fetchBy is fetch with arguments.
func fetchBy[T any](cmd *cobra.Command, r whack.Request) (T, error) {
	var found T
	final, err := whack.Ask(cmd.Context(), where().socket(), r, nil)
	if err != nil {
		return found, &exitError{whack.ExitFor(final, err), err}
	}
	if final.Exit != whack.ExitDone {
		return found, fail(final.Exit, "%s", final.Text)
	}
	if err := json.Unmarshal(final.JSON, &found); err != nil {
		return found, fmt.Errorf("decode the daemon's answer: %w", err)
	}
	return found, nil
}

// answers reports whether a daemon serves its control socket.
func answers(ctx context.Context, at places) bool {
	_, err := whack.Ask(ctx, at.socket(), whack.Request{Op: whack.OpPing}, nil)
	return err == nil
}

// printJSON writes v indented, as every --json does.
func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // the arrows of selectors
	return e.Encode(v)
}

// told says in JSON that something is done, if that was asked for; that it has
// failed says run.
func told(cmd *cobra.Command, asJSON bool, err error) error {
	if err != nil || !asJSON {
		return err
	}
	return json.NewEncoder(cmd.OutOrStdout()).Encode(outcome{})
}
