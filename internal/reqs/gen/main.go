// Command gen writes docs/requirements.md, docs/adversary.md,
// docs/opportunism.md and docs/exchanges.md. Run it from the root of the tree:
//
//	go run ./internal/reqs/gen
package main

import (
	"fmt"
	"os"

	"cygnet/internal/reqs"
)

func main() {
	for _, c := range reqs.Catalogues {
		if err := write(c); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func write(c *reqs.Catalogue) error {
	text, err := os.ReadFile(c.DataFile)
	if err != nil {
		return err
	}
	data, err := c.Parse(text)
	if err != nil {
		return err
	}
	found, err := c.Scan(os.DirFS("."))
	if err != nil {
		return err
	}
	for _, p := range c.Problems(data, found) {
		fmt.Fprintln(os.Stderr, p)
	}
	return os.WriteFile(c.PageFile, c.Page(data, found), 0o644)
}
