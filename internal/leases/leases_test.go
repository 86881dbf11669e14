package leases

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"cygnet/internal/pool"
)

var t0 = time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)

func open(t *testing.T, name string) *File {
	t.Helper()
	f, err := Open(name, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func lease(addr, owner string, uses int, since time.Time) pool.Lease {
	return pool.Lease{Addr: netip.MustParseAddr(addr), Owner: owner, Conn: "pool", Uses: uses, Since: since}
}

func TestLeasesOutliveTheDaemon(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state", "leases.db")
	f := open(t, name)
	f.Save([]pool.Lease{lease("10.9.0.1", "@ann", 0, t0), lease("10.9.0.2", "@ben", 1, t0), lease("2001:db8::1", "@ben", 1, t0)})
	f.Save([]pool.Lease{lease("10.9.0.1", "@cat", 1, t0.Add(time.Hour)), lease("10.9.0.3", "@old", 0, t0.Add(-2*kept))})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	f = open(t, name)
	defer f.Close()
	got, err := f.Load(t0.Add(2 * time.Hour))
	want := []pool.Lease{lease("10.9.0.1", "@cat", 1, t0.Add(time.Hour)), lease("10.9.0.2", "@ben", 1, t0), lease("2001:db8::1", "@ben", 1, t0)}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestRubbishIsForgotten(t *testing.T) {
	name := filepath.Join(t.TempDir(), "leases.db")
	f := open(t, name)
	err := f.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		for k, v := range map[string]string{"abc": `{"owner":"@ann"}`, "\x0a\x09\x00\x01": "not JSON", "\x0a\x09\x00\x02": `{}`} {
			if err := b.Put([]byte(k), []byte(v)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Save([]pool.Lease{lease("10.9.0.3", "@ann", 1, t0)})
	f.flush()
	if got, err := f.Load(t0); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// A file of something else is not lost.
func TestNoDatabase(t *testing.T) {
	name := filepath.Join(t.TempDir(), "leases.db")
	const text = "something else, and long enough to be looked at"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	told := 0
	f, err := Open(name, func(error) { told++ })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := os.ReadFile(name + aside); err != nil || string(b) != text || told != 1 {
		t.Errorf("%q, %v; told %d times", b, err, told)
	}
}
