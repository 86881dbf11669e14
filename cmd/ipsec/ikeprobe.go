package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cygnet/internal/host"
)

// How long answers are waited for.
const (
	dnsWait   = 6 * time.Second
	ikeWait   = 2 * time.Second
	ikeRepeat = 500 * time.Millisecond
)

// answersIKE reports whether an IKE daemon is at an address: it gets the header
// of a message in version 3, to which RFC 7296, section 2.5, has every daemon
// answer that it is too new for it. Nothing is set up by that.
func answersIKE(ctx context.Context, at netip.AddrPort, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	conn, err := outside(at.Addr()).DialContext(ctx, "udp", at.String())
	if err != nil {
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	head := ikeProbe()
	if at.Port() == natPort { // RFC 3948, section 2.2: four zeros tell IKE from ESP
		head = append(make([]byte, 4), head...)
	}
	buf := make([]byte, 2048)
	for ctx.Err() == nil {
		if _, err := conn.Write(head); err != nil {
			return false // the machine is there, and says that nobody listens
		}
		_ = conn.SetReadDeadline(time.Now().Add(ikeRepeat))
		if n, err := conn.Read(buf); err == nil && n >= 28 {
			return true
		}
	}
	return false
}

const natPort = 4500

// probeSize is more than an answer has: nobody answers with more octets than
// came, lest others be flooded by him.
const probeSize = 64

// ikeProbe is RFC 7296, section 3.1: SPIs, next payload, version, exchange type,
// flags, message ID, length; what follows is for a version that nobody knows.
func ikeProbe() []byte {
	const (
		tooNew        = 3 << 4
		ikeSAInit     = 34
		fromInitiator = 0x08
	)
	head := make([]byte, probeSize)
	_, _ = rand.Read(head[:8]) // never fails
	head[17], head[18], head[19] = tooNew, ikeSAInit, fromInitiator
	binary.BigEndian.PutUint32(head[24:], uint32(len(head)))
	return head
}

// outside dials by the physical device that leads to an address, as the daemon
// does: what goes by a tunnel to the gateway itself does not reach its daemon.
// If the device is not known, by what routing says.
func outside(to netip.Addr) *net.Dialer {
	device := deviceFor(to)
	return &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		if device == "" {
			return nil
		}
		var bound error
		err := c.Control(func(fd uintptr) { bound = unix.BindToDevice(int(fd), device) })
		return errors.Join(err, bound)
	}}
}

// deviceFor is the device of the network that an address is in, else that of the
// default route.
func deviceFor(to netip.Addr) string {
	h, err := host.Open()
	if err != nil {
		return ""
	}
	defer h.Close()
	links, err := h.Interfaces()
	if err != nil {
		return ""
	}
	for _, l := range links {
		inside := func(p netip.Prefix) bool { return p.Masked().Contains(to) }
		if l.Up && !strings.HasPrefix(l.Name, "ipsec") && slices.ContainsFunc(l.Addrs, inside) {
			return l.Name
		}
	}
	routes, err := h.DefaultRoutes()
	if err != nil {
		return ""
	}
	if to.Is4() {
		return routes[0].Device
	}
	return routes[1].Device
}
