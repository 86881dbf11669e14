// Package scenarios holds the scenario files that `ipsec demo` shows and the
// tests run. Each file explains itself; package demo documents their form.
package scenarios

import "embed"

// Files are the scenarios, NAME.txt.
//
//go:embed *.txt
var Files embed.FS
