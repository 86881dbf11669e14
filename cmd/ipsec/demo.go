package main

import (
	"errors"

	"github.com/spf13/cobra"

	"cygnet/internal/demo"
	"cygnet/internal/whack"
)

func newDemo() *cobra.Command {
	c := demo.NewCommand()
	failing(c)
	return c
}

// failing makes what goes wrong in c and its subcommands exit code 1, rather
// than a matter of usage.
func failing(c *cobra.Command) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			var exit *exitError
			if err == nil || errors.As(err, &exit) {
				return err
			}
			return &exitError{whack.ExitFailed, err}
		}
	}
	for _, sub := range c.Commands() {
		failing(sub)
	}
}
