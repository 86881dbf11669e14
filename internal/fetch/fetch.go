// Package fetch gets CRLs and OCSP responses over HTTP, for pki. A peer's
// certificate may say where, so that everything is bounded: time, size,
// redirects, work under way, and which addresses are talked to. What comes is
// not trusted; pki checks its signature.
//
// A Fetcher is used by all goroutines that run jobs. Negotiations wait for it a
// short time only; what arrives later serves the next one.
package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"cygnet/internal/pki"
)

// Options of a Fetcher.
type Options struct {
	// Wait is how long Fetch waits for an answer; 0: defaultWait.
	Wait time.Duration
	Now  func() time.Time // nil: time.Now
}

// Fetcher implements pki.Fetcher. Make it with New.
type Fetcher struct {
	wait time.Duration
	now  func() time.Time
	slot chan struct{} // one token for each fetch under way
	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	pending map[key]*answer // under way, or young enough to serve again
	order   []key           // oldest first
}

type key struct {
	uri        string
	request    string
	configured bool
}

// answer is what came, once done is closed.
type answer struct {
	done  chan struct{}
	begun time.Time
	at    time.Time // when it came
	body  []byte
	err   error
}

var _ pki.Fetcher = (*Fetcher)(nil)

// New returns a Fetcher without any work.
func New(o Options) *Fetcher {
	f := &Fetcher{wait: o.Wait, now: o.Now, slot: make(chan struct{}, maxUnderWay), pending: map[key]*answer{}}
	if f.wait <= 0 {
		f.wait = defaultWait
	}
	if f.now == nil {
		f.now = time.Now
	}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f
}

// Close ends what is under way.
func (f *Fetcher) Close() {
	f.mu.Lock() // whoever begins has begun, or will see that it is over
	f.stop()
	f.mu.Unlock()
	f.work.Wait()
}

// Errors of Fetch, beside those of the network.
var (
	ErrLate = errors.New("no answer yet; the next attempt will know it if it comes")
	ErrBusy = errors.New("too much is being fetched already")
)

// Fetch implements pki.Fetcher.
func (f *Fetcher) Fetch(want pki.Fetch) ([]byte, error) {
	a, err := f.begin(want)
	if err != nil {
		return nil, err
	}
	// Whoever comes to a slow server after others waits for the rest of their
	// time only, so that it cannot hold up all that negotiate.
	timer := time.NewTimer(max(0, f.wait-f.now().Sub(a.begun)))
	defer timer.Stop()
	select {
	case <-a.done:
		return a.body, a.err
	default:
	}
	select {
	case <-a.done:
		return a.body, a.err
	case <-timer.C:
		return nil, ErrLate
	}
}

// begin joins the fetch of the same thing that is under way or was lately, or
// starts one.
func (f *Fetcher) begin(want pki.Fetch) (*answer, error) {
	k := key{want.URI, string(want.Request), want.Configured}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		return nil, f.ctx.Err()
	}
	if a := f.pending[k]; a != nil && f.young(a) {
		return a, nil
	}
	select {
	case f.slot <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	a := &answer{done: make(chan struct{}), begun: f.now()}
	f.keep(k, a)
	f.work.Go(func() {
		body, err := f.get(want)
		f.mu.Lock()
		a.body, a.err, a.at = body, err, f.now()
		f.mu.Unlock()
		<-f.slot
		close(a.done)
	})
	return a, nil
}

// young reports whether an answer serves again: it is still being waited for, or
// came lately. Failures are remembered too, so that nobody makes us knock at a
// closed door all the time.
func (f *Fetcher) young(a *answer) bool {
	select {
	case <-a.done:
	default:
		return true
	}
	life := keepAnswer
	if a.err != nil {
		life = keepFailure
	}
	age := f.now().Sub(a.at)
	return 0 <= age && age < life
}

// keep remembers an answer and forgets the oldest of too many.
func (f *Fetcher) keep(k key, a *answer) {
	if f.pending[k] == nil {
		f.order = append(f.order, k)
	}
	f.pending[k] = a
	for len(f.order) > maxAnswers {
		delete(f.pending, f.order[0])
		f.order = f.order[1:]
	}
}

// get is one fetch from beginning to end.
func (f *Fetcher) get(want pki.Fetch) ([]byte, error) {
	ctx, cancel := context.WithTimeout(f.ctx, maxTime)
	defer cancel()
	method, limit := http.MethodGet, int64(maxPublished)
	if want.Configured {
		limit = maxConfigured
	}
	var body io.Reader
	if want.OCSP() {
		method, limit, body = http.MethodPost, maxResponse, bytes.NewReader(want.Request)
	}
	req, err := http.NewRequestWithContext(ctx, method, want.URI, body)
	if err != nil {
		return nil, plain(err)
	}
	req.Header.Set("User-Agent", "cygnet")
	if want.OCSP() { // RFC 6960 appendix A.1
		req.Header.Set("Content-Type", "application/ocsp-request")
		req.Header.Set("Accept", "application/ocsp-response")
	}
	if want.Configured {
		req = req.WithContext(trusting(ctx, req.URL))
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, plain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server says %d", resp.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, plain(err)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("the answer is longer than %d octets", limit)
	}
	return data, nil
}

// plain takes the address out of an error of net/http, whose caller names it.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
