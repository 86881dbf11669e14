package lab

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"
)

// Transfer is one file moved by TCP.
type Transfer struct {
	Bytes    int64
	Duration time.Duration // from the connection's first byte to the receiver's verdict
}

// Mbps is the rate in 10^6 bits per second.
func (t Transfer) Mbps() float64 {
	if t.Duration <= 0 {
		return 0
	}
	return float64(t.Bytes) * 8 / t.Duration.Seconds() / 1e6
}

// Send moves size octets from h to dst, an address of the host to, and checks
// that they arrive unchanged. progress, if not nil, is told now and then how
// many octets have been handed to TCP.
func (h *Host) Send(ctx context.Context, to *Host, dst netip.Addr, size int64, progress func(int64)) (Transfer, error) {
	var ln net.Listener
	err := to.Do(func() (err error) {
		ln, err = net.Listen("tcp", netip.AddrPortFrom(dst, 0).String())
		return err
	})
	if err != nil {
		return Transfer{}, fmt.Errorf("receive on %s: %w", to.Name, err)
	}
	defer ln.Close()
	verdict := make(chan error, 1)
	go func() { verdict <- receive(ctx, ln, size) }()

	var conn net.Conn
	err = h.Do(func() (err error) {
		d := net.Dialer{Timeout: 10 * time.Second}
		conn, err = d.DialContext(ctx, "tcp", ln.Addr().String())
		return err
	})
	if err != nil {
		return Transfer{}, fmt.Errorf("connect from %s to %s: %w", h.Name, dst, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })
	defer stop()
	start := time.Now()
	if err := feed(conn, size, progress); err != nil {
		return Transfer{}, errors.Join(fmt.Errorf("send from %s to %s: %w", h.Name, dst, err), ctx.Err())
	}
	if err := <-verdict; err != nil {
		return Transfer{}, fmt.Errorf("receive on %s: %w", to.Name, err)
	}
	return Transfer{size, time.Since(start)}, nil
}

// feed writes size octets of content, then their digest, and waits for the
// receiver's one octet of thanks.
func feed(conn net.Conn, size int64, progress func(int64)) error {
	content := newContent()
	sum := sha256.New()
	buf := make([]byte, 128<<10)
	for sent := int64(0); sent < size; {
		b := buf[:min(int64(len(buf)), size-sent)]
		content.fill(b)
		sum.Write(b)
		n, err := conn.Write(b)
		sent += int64(n)
		if err != nil {
			return fmt.Errorf("after %d octets: %w", sent, err)
		}
		if progress != nil {
			progress(sent)
		}
	}
	if _, err := conn.Write(sum.Sum(nil)); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, buf[:1])
	return err
}

func receive(ctx context.Context, ln net.Listener, size int64) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	conn, err := ln.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	stopConn := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })
	defer stopConn()
	sum := sha256.New()
	if n, err := io.CopyN(sum, conn, size); err != nil {
		return fmt.Errorf("after %d octets: %w", n, err)
	}
	var want [sha256.Size]byte
	if _, err := io.ReadFull(conn, want[:]); err != nil {
		return err
	}
	if [sha256.Size]byte(sum.Sum(nil)) != want {
		return errors.New("content arrived damaged")
	}
	_, err = conn.Write([]byte{1})
	return err
}

// content is a stream of 64-octet records: the Marker, a counter, and noise.
// Any packet of some size shows the marker to a capture that can read it.
type content struct {
	n     uint64
	noise *rand.ChaCha8
	rest  []byte
}

func newContent() *content {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], uint64(os.Getpid()))
	return &content{noise: rand.NewChaCha8(seed)}
}

func (c *content) fill(b []byte) {
	for len(b) > 0 {
		if len(c.rest) == 0 {
			c.rest = c.record()
		}
		n := copy(b, c.rest)
		b, c.rest = b[n:], c.rest[n:]
	}
}

func (c *content) record() []byte {
	r := make([]byte, 64)
	copy(r, Marker)
	binary.BigEndian.PutUint64(r[16:], c.n)
	c.n++
	c.noise.Read(r[24:])
	return r
}
