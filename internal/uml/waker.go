package uml

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"cygnet/internal/lab"
)

// The driver of user-mode Linux may miss a frame that arrives just as it goes
// to sleep, and leaves it where it is until the next one comes (seen once in a
// thousand on a busy machine). So there is always a next one.
const wakeEvery = 20 * time.Millisecond

// wakeFrame is a frame that nobody listens to: broadcast, of a type that IEEE
// 802 leaves to experiments.
var wakeFrame = append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}, make([]byte, 46)...)

// wake sends frames to a tap until the returned function is called.
func wake(h *lab.Host, tap string) (stop func(), err error) {
	fd := -1
	err = h.Do(func() error {
		dev, err := net.InterfaceByName(tap)
		if err != nil {
			return err
		}
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: dev.Index})
	})
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, fmt.Errorf("frames for %s: %w", tap, err)
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer unix.Close(fd)
		tick := time.NewTicker(wakeEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_, _ = unix.Write(fd, wakeFrame) // full or down: the next will do
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-ended }, nil
}
