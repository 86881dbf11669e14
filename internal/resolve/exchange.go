package resolve

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"cygnet/internal/dns"
)

// Dialer opens the sockets to servers. net.Dialer is one; pluto's has sockets
// that no policy of ours applies to.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// asker brings the answer to a question, whose ID it chooses.
type asker interface {
	exchange(ctx context.Context, q dns.Question) (*dns.Message, error)
}

// exchanger asks servers: the first one, again after silence, then the next
// (8.4, rule 4).
type exchanger struct {
	servers []netip.AddrPort
	dialer  Dialer
	repeat  time.Duration // of silence before a query is sent again
}

var errNoServer = errors.New("no DNS server is known: resolver= in config setup names one")

// exchange returns the first answer of any server to q, whose ID it sets.
func (x *exchanger) exchange(ctx context.Context, q dns.Question) (*dns.Message, error) {
	if len(x.servers) == 0 {
		return nil, errNoServer
	}
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lookupLimit)
		defer cancel()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type reply struct {
		m   *dns.Message
		err error
	}
	replies := make(chan reply, len(x.servers))
	next := time.NewTimer(0) // when to ask the next server
	defer next.Stop()
	started, failed := 0, 0
	var last error
	for {
		select {
		case <-next.C:
			if started < len(x.servers) {
				server := x.servers[started]
				go func() { // ends with ctx; the channel has room for it
					m, err := x.one(ctx, server, q)
					replies <- reply{m, err}
				}()
				started++
				next.Reset(2 * x.repeat)
			}
		case r := <-replies:
			if r.err == nil {
				return r.m, nil
			}
			last = r.err
			if failed++; failed == len(x.servers) {
				return nil, last
			}
			next.Reset(0)
		case <-ctx.Done():
			return nil, fmt.Errorf("no answer from %s: %w", x.servers[0], ctx.Err())
		}
	}
}

// one asks one server: by UDP, and by TCP if the answer does not fit.
func (x *exchanger) one(ctx context.Context, server netip.AddrPort, q dns.Question) (*dns.Message, error) {
	var id [2]byte
	_, _ = rand.Read(id[:]) // never fails
	q.ID = binary.BigEndian.Uint16(id[:])
	query, err := q.Pack()
	if err != nil {
		return nil, err
	}
	m, err := x.udp(ctx, server, q, query)
	if err == nil && m.Truncated {
		m, err = x.tcp(ctx, server, q, query)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", server, err)
	}
	return m, nil
}

// udp sends the query, a few times in all, and reads until the answer to it is
// there.
// The socket is connected, so only the server's datagrams come, and its port is
// a random one (RFC 5452).
func (x *exchanger) udp(ctx context.Context, server netip.AddrPort, q dns.Question, query []byte) (*dns.Message, error) {
	conn, err := x.dialer.DialContext(ctx, "udp", server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	defer x.again(conn, query)()
	buf := make([]byte, maxDatagram)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return nil, err
		}
		m, err := q.Parse(buf[:n])
		if !errors.Is(err, dns.ErrNotAnAnswer) {
			return m, err
		}
	}
}

// again repeats a query until stop is called.
func (x *exchanger) again(conn net.Conn, query []byte) (stop func()) {
	end := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(x.repeat)
		defer tick.Stop()
		for range maxRepeats {
			select {
			case <-tick.C:
				_, _ = conn.Write(query) // what is wrong is seen by who reads
			case <-end:
				return
			}
		}
	})
	return func() { close(end); done.Wait() }
}

// tcp is RFC 7766: each message after its length.
func (x *exchanger) tcp(ctx context.Context, server netip.AddrPort, q dns.Question, query []byte) (*dns.Message, error) {
	conn, err := x.dialer.DialContext(ctx, "tcp", server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, fmt.Errorf("by TCP: %w", err)
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return nil, fmt.Errorf("by TCP: %w", err)
	}
	m, err := q.Parse(buf)
	if err == nil && m.Truncated {
		err = errors.New("truncated answer by TCP")
	}
	return m, err
}
