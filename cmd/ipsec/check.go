package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/check"
	"cygnet/internal/config"
	"cygnet/internal/whack"
)

// checkOptions are the words of one `ipsec check`.
type checkOptions struct {
	json, fix, here, rules bool
}

func newCheck() *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check [FILE...]",
		Short: "Read configuration files and say what could go wrong",
		Long: `check reads ipsec.conf and the secrets beside it, or other FILEs in their place,
and tells with file, line, reason and mend what the manual warns of, and what
today's practice does. With the files of both gateways, as in

	ipsec check west.conf east.conf

it compares the two ends as well; the secrets of west.conf are in west.secrets,
or else in ipsec.secrets in the same directory. It changes nothing without --fix,
and needs no running daemon.

It ends with 0 if there is nothing to mend, 21 after warnings, 22 after errors.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.rules {
				return listRules(cmd.OutOrStdout())
			}
			return runCheck(cmd.OutOrStdout(), cmd.ErrOrStderr(), args, o)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.BoolVar(&o.fix, "fix", false, "make the edits that change no meaning, then look again")
	f.BoolVar(&o.here, "here", false, "the first FILE is for this machine: compare it with its interfaces, routes and rules")
	f.BoolVar(&o.rules, "rules", false, "list the rules")
	return c
}

func listRules(out io.Writer) error {
	for _, r := range check.Rules() {
		if _, err := fmt.Fprintf(out, "%s %-8s %s: %s\n", r.ID, r.Severity, r.Doc, r.Why); err != nil {
			return err
		}
	}
	return nil
}

func runCheck(out, diag io.Writer, args []string, o checkOptions) error {
	names, err := checkedFiles(args)
	if err != nil {
		return err
	}
	report := checkFiles(names, o.here)
	var mended []string
	if o.fix {
		if mended, err = mend(report.Findings); err != nil {
			return fail(whack.ExitFailed, "%w", err)
		}
		report = checkFiles(names, o.here)
	}
	if o.json {
		err = printJSON(out, checkJSON(report, mended))
	} else {
		for _, m := range mended {
			fmt.Fprintln(diag, m)
		}
		printReport(out, report)
	}
	if err != nil {
		return err
	}
	return ended([...]whack.Exit{whack.ExitDone, whack.ExitWarnings, whack.ExitErrors}[report.Worst()])
}

// checkedFiles turns the words of the command line into files that exist: a
// directory stands for its ipsec.conf, nothing for this gateway's own.
func checkedFiles(args []string) ([]string, error) {
	if len(args) == 0 {
		return []string{where().confFile()}, nil
	}
	var names []string
	for _, a := range args {
		st, err := os.Stat(a)
		if err == nil && st.IsDir() {
			a = filepath.Join(a, "ipsec.conf")
			_, err = os.Stat(a)
		}
		if err != nil {
			return nil, fail(whack.ExitFailed, "%w", err)
		}
		names = append(names, a)
	}
	return names, nil
}

// checkFiles runs the rules. Facts of this machine are for its own file, or for
// the first where the user says so.
func checkFiles(names []string, here bool) *check.Report {
	var list []*check.Gateway
	for i, n := range names {
		g := check.Load(config.OS{}, n, check.Options{Now: time.Now()})
		if own(n) || here && i == 0 {
			g.Know(gatherFacts(g))
		}
		list = append(list, g)
	}
	return check.Run(list...)
}

// own reports whether a file is the one that the daemon of this machine reads.
func own(name string) bool {
	a, err := filepath.Abs(name)
	b, also := filepath.Abs(where().confFile())
	return err == nil && also == nil && a == b
}

// mend makes the edits of findings and tells of each file it wrote.
func mend(findings []check.Finding) ([]string, error) {
	var files, done []string
	for _, f := range findings {
		if f.Edit != nil && !slices.Contains(files, f.File) {
			files = append(files, f.File)
		}
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return done, err
		}
		text, mode, err := check.Apply(string(b), name, findings)
		if err != nil {
			return done, err
		}
		if mode != 0 {
			if err := os.Chmod(name, mode); err != nil {
				return done, err
			}
			done = append(done, fmt.Sprintf("mended: chmod %04o %s", mode, name))
		}
		if text == string(b) {
			continue
		}
		if err := replaceFile(name, text); err != nil {
			return done, err
		}
		done = append(done, "mended: "+name)
	}
	return done, nil
}

// replaceFile gives a file a new text in one step: whoever reads it meanwhile
// sees the old or the new one. Mode and owner stay.
func replaceFile(name, text string) (err error) {
	if name, err = filepath.EvalSymlinks(name); err != nil {
		return err
	}
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".ipsec-check-") // 0600 from the first byte
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.WriteString(text)
	if err == nil {
		err = keepOwner(f, st)
	}
	if err == nil {
		err = f.Chmod(st.Mode().Perm())
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func printReport(out io.Writer, r *check.Report) {
	for _, f := range r.Findings {
		fmt.Fprintf(out, "%s\n\twhy: %s\n", f, f.Why)
		switch {
		case f.Mend != "" && f.Edit != nil:
			fmt.Fprintf(out, "\tmend: %s (--fix does it)\n", f.Mend)
		case f.Mend != "":
			fmt.Fprintf(out, "\tmend: %s\n", f.Mend)
		}
	}
	for _, line := range notApplied(r.Skipped) {
		fmt.Fprintln(out, line)
	}
	n := count(r.Findings)
	fmt.Fprintf(out, "%d errors, %d warnings, %d notes\n", n[check.Error], n[check.Warning], n[check.Info])
}

// notApplied says which rules were not, in a line for each file.
func notApplied(list []check.Skipped) []string {
	var files, lines []string
	for _, s := range list {
		if !slices.Contains(files, s.File) {
			files = append(files, s.File)
		}
	}
	for _, file := range files {
		var ids, needs []string
		for _, s := range list {
			if s.File == file {
				ids = append(ids, s.Rule)
				if need := strings.TrimSuffix(s.Needs, " of the machine"); !slices.Contains(needs, need) {
					needs = append(needs, need)
				}
			}
		}
		lines = append(lines, fmt.Sprintf("N/A: %s: %s: not known of its machine: %s", file, strings.Join(ids, " "), strings.Join(needs, ", ")))
	}
	return lines
}

func count(findings []check.Finding) (n [3]int) {
	for _, f := range findings {
		n[f.Severity]++
	}
	return n
}

// checked is what `ipsec check --json` prints.
type checked struct {
	Version  int `json:"version"`
	Errors   int `json:"errors"`
	Warnings int `json:"warnings"`
	Notes    int `json:"notes"`
	*check.Report
	Mended []string `json:"mended,omitempty"`
}

func checkJSON(r *check.Report, mended []string) checked {
	n := count(r.Findings)
	return checked{1, n[check.Error], n[check.Warning], n[check.Info], r, mended}
}

// keepOwner gives a new file the owner of the one it replaces.
func keepOwner(f *os.File, old os.FileInfo) error {
	st, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return f.Chown(int(st.Uid), int(st.Gid))
}
