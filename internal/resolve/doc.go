// Package resolve asks the DNS for package oe: a stub that trusts a local
// validating resolver (opportunistic.md 8.4), a validator of its own (8.5), and
// a cache in front of either. It decides nothing about records. All its types
// may be used from any goroutine.
package resolve

import (
	"context"
	"sync"

	"cygnet/internal/oe"
)

// Ask carries out an inquiry: its questions go to r as soon as it has them, all
// at the same time. When ctx ends, what is still open counts as not answered.
func Ask(ctx context.Context, r oe.Resolver, i *oe.Inquiry) oe.Finding {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel() // before the wait: what is not needed any more ends
	type reply struct {
		query  oe.Query
		answer oe.Answer
	}
	replies := make(chan reply, 16) // more than an inquiry can ask
	for {
		for q, ok := i.Next(); ok; q, ok = i.Next() {
			running.Go(func() {
				a, err := r.Lookup(ctx, q.Name, q.Type)
				if err != nil {
					a = oe.Answer{Why: err.Error()}
				}
				replies <- reply{q, a}
			})
		}
		if i.Done() {
			return i.Finding()
		}
		select {
		case got := <-replies:
			i.Answered(got.query, got.answer)
		case <-ctx.Done():
			return i.Finding()
		}
	}
}
