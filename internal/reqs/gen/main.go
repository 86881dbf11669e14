// Command gen writes docs/requirements.md. Run it from the root of the tree:
//
//	go run ./internal/reqs/gen
package main

import (
	"fmt"
	"os"

	"cygnet/internal/reqs"
)

func main() {
	if err := write("."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(root string) error {
	tree := os.DirFS(root)
	text, err := os.ReadFile(reqs.DataFile)
	if err != nil {
		return err
	}
	data, err := reqs.Parse(text)
	if err != nil {
		return err
	}
	found, err := reqs.Scan(tree)
	if err != nil {
		return err
	}
	for _, p := range reqs.Problems(data, found) {
		fmt.Fprintln(os.Stderr, p)
	}
	return os.WriteFile(reqs.PageFile, reqs.Page(data, found), 0o644)
}
