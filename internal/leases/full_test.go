package leases

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cygnet/internal/lab/labtest"
	"cygnet/internal/pool"
)

// The disk is full: who asks for an address waits for nothing, the failure is told,
// and what was not written is written when there is room again (RES-15).
func TestAdv_RES_15_FullDisk(t *testing.T) {
	dir := t.TempDir()
	err := unix.Mount("leases", dir, "tmpfs", 0, "size=4m")
	labtest.Need(t, err == nil, "the right to mount a small disk (root)")
	defer unix.Unmount(dir, unix.MNT_DETACH)
	told := make(chan error, 100)
	f, err := Open(filepath.Join(dir, "leases.db"), func(err error) { told <- err })
	if err != nil {
		t.Fatal(err)
	}
	junk := filepath.Join(dir, "junk")
	out, err := os.Create(junk)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = out.Write(bytes.Repeat([]byte{1}, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) || out.Close() != nil {
		t.Fatal(err)
	}
	var want []pool.Lease
	next := []byte{10, 9, 0, 0}
	take := func(n int) (list []pool.Lease) {
		for range n {
			if next[3]++; next[3] == 0 {
				next[2]++
			}
			a := slices.Clone(next)
			list = append(list, lease(netip.AddrFrom4([4]byte(a)).String(), "@ann", 1, t0))
		}
		want = append(want, list...)
		return list
	}
	f.Save(take(2000)) // too much for the pages that the file has
	select {
	case err = <-told:
	case <-time.After(time.Minute):
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("told of %v", err)
	}
	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	f.Save(take(1))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, filepath.Join(dir, "leases.db"))
	defer f.Close()
	if got, err := f.Load(t0); err != nil || !slices.Equal(got, want) {
		t.Errorf("%d leases of %d, %v", len(got), len(want), err)
	}
}
