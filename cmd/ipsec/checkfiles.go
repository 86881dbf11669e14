package main

import (
	"fmt"

	"cygnet/internal/config"
	"cygnet/internal/whack"
)

// checkFiles refuses a start that the daemon would refuse, with the line that
// is wrong. An error of one connection does not keep the others from starting;
// it is told here, and again in the log.
func (s *setup) checkFiles() error {
	file := config.Load(s.at.conf)
	for _, p := range file.Errors {
		if p.Conn == "" {
			return fail(whack.ExitConfig, "%w -- `start' aborted", p)
		}
		fmt.Fprintf(s.diag, "...could not add conn %q: %v\n", p.Conn, p)
	}
	return nil
}
