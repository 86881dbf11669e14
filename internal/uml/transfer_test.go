package uml

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"cygnet/internal/lab"
)

// serverRole as the first argument makes the test program the server of
// transfers, in the guest.
const serverRole = "serve-transfers"

// Each connection is one transfer: 'p' or 'g', eight octets of length, then
// that many octets and their digest, from the client or to it. What was put is
// acknowledged by one octet.
func serveTransfers(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(time.Minute))
			var head [9]byte
			if _, err := io.ReadFull(c, head[:]); err != nil {
				return
			}
			n := int64(binary.BigEndian.Uint64(head[1:]))
			if head[0] == 'g' {
				send(c, n)
			} else if receive(c, n) == nil {
				c.Write([]byte{1})
			}
		}()
	}
}

// send writes n octets and their digest.
func send(w io.Writer, n int64) error {
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(w, sum), rand.NewChaCha8([32]byte{byte(n)}), n); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

var errDamaged = errors.New("content arrived damaged")

func receive(r io.Reader, n int64) error {
	sum := sha256.New()
	if k, err := io.CopyN(sum, r, n); err != nil {
		return fmt.Errorf("after %d octets: %w", k, err)
	}
	var want [sha256.Size]byte
	if _, err := io.ReadFull(r, want[:]); err != nil {
		return err
	}
	if [sha256.Size]byte(sum.Sum(nil)) != want {
		return errDamaged
	}
	return nil
}

// transfer moves n octets from h to the server and, in a second connection, n
// octets back.
func transfer(ctx context.Context, h *lab.Host, server string, n int64) error {
	for _, kind := range []byte{'p', 'g'} {
		var c net.Conn
		err := h.Do(func() (err error) {
			c, err = (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", server)
			return err
		})
		if err != nil {
			return err
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		err = request(c, kind, n)
		c.Close()
		if err != nil {
			return fmt.Errorf("transfer %c: %w", kind, err)
		}
	}
	return nil
}

func request(c net.Conn, kind byte, n int64) error {
	if _, err := c.Write(binary.BigEndian.AppendUint64([]byte{kind}, uint64(n))); err != nil {
		return err
	}
	if kind == 'g' {
		return receive(c, n)
	}
	if err := send(c, n); err != nil {
		return err
	}
	var ack [1]byte
	_, err := io.ReadFull(c, ack[:])
	return err
}
