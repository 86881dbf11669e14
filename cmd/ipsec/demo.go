package main

import (
	"github.com/spf13/cobra"

	"cygnet/internal/demo"
)

func newDemo() *cobra.Command { return demo.NewCommand() }
