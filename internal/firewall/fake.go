package firewall

import (
	"maps"
	"reflect"
	"slices"
	"sync"
)

// Fake is a packet filter in memory. The zero value is empty.
type Fake struct {
	Err error // what Set, Open and Shut answer, if not nil

	mu       sync.Mutex
	state    State
	writes   int
	opened   map[string][]Pair
	counters []Counter
	changes  chan struct{}
}

var _ Firewall = (*Fake)(nil)

// Set implements Firewall.
func (f *Fake) Set(want State) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Err != nil {
		return f.Err
	}
	if !reflect.DeepEqual(f.state, want) {
		f.state = want.clone()
		f.writes++
	}
	return nil
}

// State returns what Set has set.
func (f *Fake) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.clone()
}

// Writes tells how often Set had something to do.
func (f *Fake) Writes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes
}

// Open implements Firewall.
func (f *Fake) Open(name string, pairs []Pair) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Err != nil {
		return f.Err
	}
	if f.opened == nil {
		f.opened = map[string][]Pair{}
	}
	f.opened[name] = slices.Clone(pairs)
	return nil
}

// Shut implements Firewall.
func (f *Fake) Shut(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.opened, name)
	return f.Err
}

// Opened returns what Open has opened, by name.
func (f *Fake) Opened() map[string][]Pair {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.opened)
}

// Count sets what Counters returns.
func (f *Fake) Count(list []Counter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counters = slices.Clone(list)
}

// Counters implements Firewall.
func (f *Fake) Counters() ([]Counter, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.counters), nil
}

// Remove implements Firewall.
func (f *Fake) Remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.opened = State{}, nil
	return nil
}

// Change pretends that others have changed the filter.
func (f *Fake) Change() {
	select {
	case f.channel() <- struct{}{}:
	default:
	}
}

// Changes implements Firewall.
func (f *Fake) Changes() <-chan struct{} { return f.channel() }

func (f *Fake) channel() chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changes == nil {
		f.changes = make(chan struct{}, 1)
	}
	return f.changes
}

// Close implements Firewall.
func (f *Fake) Close() error { return nil }
