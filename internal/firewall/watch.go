package firewall

import (
	"errors"

	"golang.org/x/sys/unix"
)

// watch listens for transactions of others.
func (l *Linux) watch() error {
	c, err := l.dial()
	if err != nil {
		return err
	}
	if err := c.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		c.Close()
		return err
	}
	l.watcher = c
	l.wg.Go(func() {
		for {
			messages, err := c.Receive()
			if err != nil && !errors.Is(err, unix.ENOBUFS) {
				return // closed
			}
			hint := err != nil // some were lost
			for _, m := range messages {
				if gen, ok := generationOf(m); ok && !l.own(gen) {
					hint = true
				}
			}
			if hint {
				select {
				case l.changes <- struct{}{}:
				default:
				}
			}
		}
	})
	return nil
}

// own reports whether a generation is one that we made, or have seen.
func (l *Linux) own(gen uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return gen == l.gen
}

// Changes implements Firewall.
func (l *Linux) Changes() <-chan struct{} { return l.changes }
