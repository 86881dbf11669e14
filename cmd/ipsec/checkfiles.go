package main

import (
	"fmt"
	"slices"

	"cygnet/internal/config"
	"cygnet/internal/whack"
)

// checkFiles refuses a start that the daemon would refuse, with the line that
// is wrong, and one with the example keys of a manual. An error of one
// connection or secret does not keep the others from starting; it is told here,
// and again in the log.
func (s *setup) checkFiles() error {
	file := config.Load(s.at.conf)
	for _, p := range file.Errors {
		if p.Conn == "" {
			return fail(whack.ExitConfig, "%w -- `start' aborted", p)
		}
		fmt.Fprintf(s.diag, "...could not add conn %q: %v\n", p.Conn, p)
	}
	secrets := config.LoadSecrets(s.at.conf, &file.Setup)
	if p := exampleKey(file, secrets); p != nil {
		return fail(whack.ExitConfig, "%w -- `start' aborted", *p)
	}
	for _, p := range secrets.Errors {
		fmt.Fprintf(s.diag, "...could not use secrets: %v\n", p)
	}
	return nil
}

// exampleKey finds a key that everybody can read in a manual (R7.7, FW006):
// a secret, or the keys of a manual connection that the start would bring up.
func exampleKey(file *config.File, secrets *config.Secrets) *config.Problem {
	const rule = "FW006"
	for i := range secrets.Errors {
		if secrets.Errors[i].Rule == rule {
			return &secrets.Errors[i]
		}
	}
	for i := range file.Warnings {
		p := &file.Warnings[i]
		if p.Rule != rule {
			continue
		}
		for _, c := range file.Named(p.Conn) {
			if c.Auto == config.AutoManual || slices.Contains(file.Setup.ManualStart, p.Conn) {
				return p
			}
		}
	}
	return nil
}
