package leases

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"cygnet/internal/pool"
)

// two makes a file with the leases of two owners and returns its octets.
func two(t *testing.T) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "leases.db")
	f := open(t, name)
	f.Save([]pool.Lease{lease("10.9.0.1", "@ann", 1, t0), lease("10.9.0.2", "@ben", 1, t0)})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// live opens a file of these octets, uses it as a daemon does, and opens it
// once more. It returns what was told, and fails when the later lease is lost
// without a word.
func live(t *testing.T, b []byte) (told int) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "leases.db")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	tell := func(error) { told++ }
	use := func() []pool.Lease {
		f, err := Open(name, tell)
		if err != nil {
			t.Fatal(err)
		}
		list, err := f.Load(t0)
		if err != nil {
			tell(err)
		}
		f.Save([]pool.Lease{lease("10.9.0.3", "@cat", 1, t0)})
		if err := f.Close(); err != nil {
			tell(err)
		}
		return list
	}
	use()
	if got := use(); told == 0 && !slices.ContainsFunc(got, func(l pool.Lease) bool { return l.Owner == "@cat" }) {
		t.Errorf("lost without a word: %v", got)
	}
	return told
}

// A file that was cut, has a flipped bit, or is of a version to come: a start
// without the leases, and a line that says so.
func TestAdv_CRS_10_DamagedFile(t *testing.T) {
	whole := two(t)
	if told := live(t, whole); told != 0 {
		t.Errorf("a sound file: told %d times", told)
	}
	for n := 512; n < len(whole); n += 512 {
		told := live(t, whole[:n])
		if n < 2*os.Getpagesize() && told == 0 {
			t.Errorf("cut to %d octets: not a word", n)
		}
	}
	for i, octet := range whole {
		if octet == 0 && i%251 != 0 {
			continue // between what is used
		}
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		live(t, b)
	}
	b := bytes.Clone(whole)
	for _, meta := range []int{0, os.Getpagesize()} {
		b[meta+20]++ // the version, behind a page header of 16 octets and a magic number of 4
	}
	if live(t, b) == 0 {
		t.Error("a version to come: not a word")
	}
}

// A file as it may stand after a power cut in the middle of a change. bbolt
// writes the pages of the change where nothing is in use, waits for the disk,
// and then writes the one sector that points at them: up to that the file is
// the old one, whichever of the pages are there, and then the new one.
func TestAdv_CRS_13_PowerCut(t *testing.T) {
	name := filepath.Join(t.TempDir(), "leases.db")
	if err := os.WriteFile(name, two(t), 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, name)
	before := read(t, name)
	f.Save([]pool.Lease{lease("10.9.0.1", "@new", 1, t0)})
	f.flush()
	after := read(t, name)
	if err := f.Close(); err != nil || len(after) != len(before) {
		t.Fatalf("%d octets, then %d, %v", len(before), len(after), err)
	}
	page := os.Getpagesize()
	var meta, data []int
	for at := 0; at < len(after); at += page {
		switch {
		case bytes.Equal(before[at:at+page], after[at:at+page]):
		case at < 2*page:
			meta = append(meta, at)
		default:
			data = append(data, at)
		}
	}
	if len(meta) != 1 || len(data) == 0 {
		t.Fatalf("one change writes the pages at %v and %v", meta, data)
	}
	for some := range 1 << len(data) {
		b := bytes.Clone(before)
		for i, at := range data {
			if some>>i&1 == 1 {
				copy(b[at:at+page], after[at:])
			}
		}
		ownerOfFirst(t, b, "@ann")
		if some == 1<<len(data)-1 {
			copy(b[meta[0]:meta[0]+page], after[meta[0]:])
			ownerOfFirst(t, b, "@new")
		}
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ownerOfFirst opens a file of these octets; nothing may be wrong with it.
func ownerOfFirst(t *testing.T, b []byte, want string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "leases.db")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, name)
	defer f.Close()
	list, err := f.Load(t0)
	if err != nil || len(list) != 2 || list[0].Owner != want || list[1].Owner != "@ben" {
		t.Errorf("%v, %v; want %s first", list, err, want)
	}
}
