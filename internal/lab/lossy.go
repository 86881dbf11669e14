package lab

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Loss says what a bad wire does to frames. Probabilities are between 0 and 1.
type Loss struct {
	Drop      float64 // the frame vanishes
	Duplicate float64 // the frame arrives twice
	Swap      float64 // the frame arrives after its successor
	Seed      uint64  // the same seed treats the same sequence of frames alike
}

// Wire is a link whose frames pass through this process, which may mistreat
// them. Both ends are TAP devices, so the kernel has split superpackets and
// filled in checksums before a frame is seen here.
type Wire struct {
	ends    [2]io.ReadWriteCloser
	cut     atomic.Bool
	dropped atomic.Uint64
	passed  atomic.Uint64
	wg      sync.WaitGroup

	mu     sync.Mutex // guards what the two directions share
	loss   Loss
	filter func(frame []byte) (pass bool)
}

// LossyLink joins two ports by a Wire.
func (l *Lab) LossyLink(a, b Port, loss Loss) (*Wire, error) {
	w := &Wire{loss: loss}
	for i, p := range []Port{a, b} {
		end, err := openTAP(p.Host, p.Dev)
		if err != nil {
			w.closeEnds()
			return nil, err
		}
		w.ends[i] = end
		if err := p.setUp(); err != nil {
			w.closeEnds()
			return nil, err
		}
	}
	for i := range w.ends {
		w.wg.Add(1)
		go w.forward(w.ends[i], w.ends[1-i], uint64(i))
	}
	l.Defer(w.Close)
	return w, nil
}

// Cut severs the wire (true) or mends it.
func (w *Wire) Cut(severed bool) { w.cut.Store(severed) }

// SetLoss changes how the wire treats frames from now on.
func (w *Wire) SetLoss(loss Loss) {
	w.mu.Lock()
	w.loss = loss
	w.mu.Unlock()
}

// Filter has f decide about every frame of both directions before chance does;
// nil lets all pass. f must not keep the slice.
func (w *Wire) Filter(f func(frame []byte) (pass bool)) {
	w.mu.Lock()
	w.filter = f
	w.mu.Unlock()
}

// Counts tells how many frames were delivered and how many were lost.
func (w *Wire) Counts() (passed, dropped uint64) { return w.passed.Load(), w.dropped.Load() }

// Close takes the wire out.
func (w *Wire) Close() error {
	err := w.closeEnds()
	w.wg.Wait()
	return err
}

func (w *Wire) closeEnds() error {
	var errs []error
	for _, e := range w.ends {
		if e != nil {
			errs = append(errs, e.Close())
		}
	}
	return errors.Join(errs...)
}

// forward carries one direction until an end is closed. Each direction has its
// own random sequence, so that the fate of a frame depends on the seed and on
// its number in that direction alone.
func (w *Wire) forward(from io.Reader, to io.Writer, direction uint64) {
	defer w.wg.Done()
	buf := make([]byte, 65536)
	var late []byte // a frame that waits for its successor
	var rnd *rand.Rand
	var seed uint64
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		loss := w.loss
		pass := w.filter == nil || w.filter(buf[:n])
		w.mu.Unlock()
		if rnd == nil || seed != loss.Seed {
			seed = loss.Seed
			rnd = rand.New(rand.NewPCG(seed, direction))
		}
		drop, twice, swap := rnd.Float64() < loss.Drop, rnd.Float64() < loss.Duplicate, rnd.Float64() < loss.Swap
		if w.cut.Load() || !pass || drop {
			w.dropped.Add(1)
			continue
		}
		if swap && late == nil {
			late = append([]byte(nil), buf[:n]...)
			continue
		}
		w.deliver(to, buf[:n])
		if twice {
			w.deliver(to, buf[:n])
		}
		if late != nil {
			w.deliver(to, late)
			late = nil
		}
	}
}

func (w *Wire) deliver(to io.Writer, frame []byte) {
	if _, err := to.Write(frame); err == nil {
		w.passed.Add(1)
	} else {
		w.dropped.Add(1) // the other end is switched off
	}
}

// openTAP makes an Ethernet device on h whose frames are read and written
// through the returned file.
func openTAP(h *Host, dev string) (*os.File, error) {
	var f *os.File
	err := h.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		req, err := unix.NewIfreq(dev)
		if err != nil {
			unix.Close(fd)
			return err
		}
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			unix.Close(fd)
			return fmt.Errorf("make TAP %s on %s: %w", dev, h.Name, err)
		}
		f = os.NewFile(uintptr(fd), dev)
		return nil
	})
	return f, err
}
