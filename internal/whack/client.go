package whack

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
)

// Errors of Dial, to be tested with errors.Is.
var (
	ErrNotRunning   = errors.New("is Pluto running? nothing answers on the control socket")
	ErrNotPermitted = errors.New("not permitted to use the control socket")
)

// Client is one request to a running daemon.
type Client struct{ conn net.Conn }

// Dial connects to the socket at path.
func Dial(ctx context.Context, path string) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return &Client{conn}, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("connect to %s: %w", path, ErrNotRunning)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("connect to %s: %w", path, ErrNotPermitted)
	}
	return nil, fmt.Errorf("connect to %s: %w", path, err)
}

// Do sends r and hands every reply but the last to each, which may be nil.
// It returns the final reply. Cancelling ctx stops waiting, not the daemon's
// work. The client is used up afterwards.
func (c *Client) Do(ctx context.Context, r Request, each func(Reply)) (Reply, error) {
	defer c.conn.Close()
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer stop()
	line, err := json.Marshal(r)
	if err != nil {
		return Reply{}, fmt.Errorf("encode request: %w", err)
	}
	if _, err := c.conn.Write(append(line, '\n')); err != nil {
		return Reply{}, c.fault(ctx, "send request", err)
	}
	in := bufio.NewScanner(c.conn)
	in.Buffer(nil, maxReply)
	for in.Scan() {
		var reply Reply
		if err := json.Unmarshal(in.Bytes(), &reply); err != nil {
			return Reply{}, fmt.Errorf("decode reply: %w", err)
		}
		if reply.Final {
			return reply, nil
		}
		if each != nil {
			each(reply)
		}
	}
	err = in.Err()
	if err == nil {
		err = errors.New("the daemon closed the connection before it was done")
	}
	return Reply{}, c.fault(ctx, "read reply", err)
}

func (c *Client) fault(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Close gives up; Do closes by itself.
func (c *Client) Close() error { return c.conn.Close() }

// Ask is Dial and Do in one.
func Ask(ctx context.Context, path string, r Request, each func(Reply)) (Reply, error) {
	c, err := Dial(ctx, path)
	if err != nil {
		return Reply{}, err
	}
	return c.Do(ctx, r, each)
}

// ExitFor is the exit code of a command whose Ask ended like this.
func ExitFor(final Reply, err error) Exit {
	switch {
	case err == nil:
		return final.Exit
	case errors.Is(err, ErrNotRunning):
		return ExitNotRunning
	case errors.Is(err, ErrNotPermitted):
		return ExitPermission
	}
	return ExitFailed
}
