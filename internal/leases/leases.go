// Package leases keeps the leases of address pools in a file, so that a peer
// finds its address again after a restart of the daemon or the machine. What
// changes is written by a goroutine of its own, several changes at once: who
// gives out addresses never waits for a disk. A crash may lose the last moment,
// which costs a peer its habit and nothing else.
package leases

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"cygnet/internal/pool"
)

const (
	openTime = time.Second         // another daemon may hold the file for good
	kept     = 30 * 24 * time.Hour // for an owner that does not come back
)

var bucket = []byte("leases")

// File is an open file of leases. Its methods are safe for concurrent use.
type File struct {
	db     *bbolt.DB
	failed func(error)

	mu     sync.Mutex
	queue  map[netip.Addr]pool.Lease
	signal chan struct{}
	done   chan struct{}
}

// record is a lease as it stands in the file, under its address.
type record struct {
	Owner string    `json:"owner"`
	Conn  string    `json:"connection,omitempty"`
	Used  bool      `json:"used,omitempty"`
	Since time.Time `json:"since"`
}

// Open opens the file, and makes it and its directory if need be. A damaged one
// is put aside. failed is told of that, and when writing does not succeed later.
func Open(name string, failed func(error)) (*File, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, fmt.Errorf("make directory of leases: %w", err)
	}
	db, err := openSound(name, failed)
	if err != nil {
		return nil, err
	}
	f := &File{db: db, failed: failed, queue: map[netip.Addr]pool.Lease{}, signal: make(chan struct{}, 1), done: make(chan struct{})}
	go f.write()
	return f, nil
}

// Load returns what the file holds, and forgets leases that nobody has used
// for long. Entries that make no sense are forgotten too.
func (f *File) Load(now time.Time) ([]pool.Lease, error) {
	var list []pool.Lease
	err := f.update(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			l, ok := parse(k, v)
			if !ok || l.Uses == 0 && now.Sub(l.Since) > kept {
				if err := c.Delete(); err != nil {
					return err
				}
				continue
			}
			list = append(list, l)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load leases: %w", err)
	}
	return list, nil
}

func parse(key, value []byte) (pool.Lease, bool) {
	a, ok := netip.AddrFromSlice(key)
	var r record
	if !ok || json.Unmarshal(value, &r) != nil || r.Owner == "" {
		return pool.Lease{}, false
	}
	l := pool.Lease{Addr: a, Owner: r.Owner, Conn: r.Conn, Since: r.Since}
	if r.Used {
		l.Uses = 1
	}
	return l, true
}

// Save notes leases that have changed. They are written soon.
func (f *File) Save(list []pool.Lease) {
	if len(list) == 0 {
		return
	}
	f.mu.Lock()
	for _, l := range list {
		f.queue[l.Addr] = l
	}
	f.mu.Unlock()
	select {
	case f.signal <- struct{}{}:
	default: // it is on its way
	}
}

// Close writes what has not been written, and closes the file. Save must not
// be called any more.
func (f *File) Close() error {
	close(f.signal)
	<-f.done
	return guarded(f.db.Close)
}

func (f *File) update(do func(*bbolt.Tx) error) error {
	return guarded(func() error { return f.db.Update(do) })
}

// write serves the queue until Close.
func (f *File) write() {
	defer close(f.done)
	for range f.signal {
		f.flush()
	}
	f.flush()
}

func (f *File) flush() {
	f.mu.Lock()
	todo := f.queue
	f.queue = map[netip.Addr]pool.Lease{}
	f.mu.Unlock()
	if len(todo) == 0 {
		return
	}
	err := f.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		for a, l := range todo {
			v, err := json.Marshal(record{l.Owner, l.Conn, l.Uses > 0, l.Since.UTC()})
			if err != nil {
				return err
			}
			if err := b.Put(a.AsSlice(), v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.failed(fmt.Errorf("write leases: %w", err))
		f.again(todo)
	}
}

// again keeps what could not be written, on a full disk for example, for the next
// time. It is a lease for each address at most.
func (f *File) again(todo map[netip.Addr]pool.Lease) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for a, l := range todo {
		if _, newer := f.queue[a]; !newer {
			f.queue[a] = l
		}
	}
}
