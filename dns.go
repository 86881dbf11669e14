package cygnet

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/oe"
	"cygnet/internal/resolve"
)

// Resolver asks the DNS in place of the one that config setup describes, and
// Answer is what it says. Only what it calls Secure gives keys or authority.
type (
	Resolver = oe.Resolver
	Answer   = oe.Answer
)

// nameService is a daemon's way to the DNS: one resolver with its cache for all
// who ask, made anew when what config setup says about it changes.
type nameService struct {
	o Options

	mu     sync.Mutex
	opts   resolve.Options   // of open
	open   *resolve.Resolver // nil: none could be made, or the embedder has its own
	asks   oe.Resolver       // open, or the embedder's
	why    error             // set while asks is not
	record oe.Options
	closed bool
	early  sync.WaitGroup // what prefetch runs
}

// keyWait is how long a negotiation waits for a peer's key, opportunistic.md 5,
// step 5.
const keyWait = 5 * time.Second

var errNoDNS = errors.New("the DNS is not asked")

// configure follows config setup and the files that belong to it. The old
// resolver ends if another is needed; what it was asked then has no answer.
func (n *nameService) configure(f *config.File) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.record = resolve.RecordOptions(&f.Setup, nil)
	switch {
	case n.closed:
		return nil
	case n.o.Resolver != nil:
		n.asks = n.o.Resolver
		return nil
	}
	o, err := resolve.OptionsFor(n.o.Confs, &f.Setup)
	if err == nil && n.open != nil && reflect.DeepEqual(o, n.opts) {
		return nil
	}
	if n.open != nil {
		n.open.Close()
		n.open = nil
	}
	if err == nil {
		n.open, err = resolve.New(o)
	}
	if err != nil {
		n.asks, n.why = nil, err
		return err
	}
	n.opts, n.asks = o, n.open
	return nil
}

// close ends what is being asked.
func (n *nameService) close() {
	n.mu.Lock()
	n.closed = true
	if n.open != nil {
		n.open.Close()
	}
	n.asks, n.why = nil, errNoDNS
	n.mu.Unlock()
	n.early.Wait()
}

func (n *nameService) current() (oe.Resolver, oe.Options, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asks == nil {
		return nil, n.record, n.why
	}
	return n.asks, n.record, nil
}

// Lookup implements oe.Resolver by the resolver of the moment.
func (n *nameService) Lookup(ctx context.Context, name string, rrtype uint16) (oe.Answer, error) {
	r, _, err := n.current()
	if err != nil {
		return oe.Answer{}, err
	}
	return r.Lookup(ctx, name, rrtype)
}

// Forget drops what is remembered of a name, of all for an empty one.
func (n *nameService) Forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open != nil {
		n.open.Forget(name)
	}
}

// KeysOf implements keys.Names: an address speaks by its reverse name, a host
// name by itself.
func (n *nameService) KeysOf(id ike.ID) ([]ike.PublicKey, error) {
	r, o, err := n.current()
	if err != nil {
		return nil, err
	}
	i, err := inquiry(id, o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), keyWait)
	defer cancel()
	f := resolve.Ask(ctx, r, i)
	if f.Cause != oe.CauseNone {
		return nil, fmt.Errorf("%s (%s)", f.Why, f.Cause)
	}
	var out []ike.PublicKey
	for _, offer := range f.Offers {
		out = append(out, ike.PublicKey{Key: offer.Key, Origin: origin(offer)})
	}
	return out, nil
}

func inquiry(id ike.ID, o oe.Options) (*oe.Inquiry, error) {
	if a, ok := id.Addr(); ok {
		return oe.KeysOfAddr(a, o), nil
	}
	if id.Kind == ike.IDFQDN {
		return oe.KeysOfName(id.Data, o), nil
	}
	return nil, fmt.Errorf("the DNS has keys of addresses and host names, not of %s", id)
}

// origin says in logs where a key came from.
func origin(o oe.Offer) string {
	if o.Level == oe.LevelWeak {
		return "DNS, INSECURE"
	}
	return "DNS, " + oe.TypeName(o.Type) + " validated"
}

// prefetch looks up what connections with %dnsonload need, so that it is there
// when they negotiate. What is wrong is said then.
func (n *nameService) prefetch(f *config.File) {
	var ids []ike.ID
	for _, c := range f.Conns {
		for _, e := range []*config.End{&c.Left, &c.Right} {
			if id, ok := loadID(e); ok && e.AsksDNSOnLoad() && c.Auto != config.AutoIgnore {
				ids = append(ids, id)
			}
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || len(ids) == 0 {
		return
	}
	n.early.Go(func() {
		for _, id := range ids {
			_, _ = n.KeysOf(id) // the answer waits in the cache
		}
	})
}

// loadID is the identity of an end as far as it is known at load.
func loadID(e *config.End) (ike.ID, bool) {
	switch {
	case e.ID.Kind == config.IdentityID:
		return e.ID.ID, true
	case e.Host.Kind == config.HostAddr:
		return ike.IDOfAddr(e.Host.Addr), true
	}
	return ike.ID{}, false
}
