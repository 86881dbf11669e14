package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"time"
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
func answersIKE(ctx context.Context, at netip.AddrPort) bool {
	ctx, cancel := context.WithTimeout(ctx, ikeWait)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", at.String())
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

// ikeProbe is RFC 7296, section 3.1: SPIs, next payload, version, exchange type,
// flags, message ID, length.
func ikeProbe() []byte {
	const (
		tooNew        = 3 << 4
		ikeSAInit     = 34
		fromInitiator = 0x08
	)
	head := make([]byte, 28)
	_, _ = rand.Read(head[:8]) // never fails
	head[17], head[18], head[19] = tooNew, ikeSAInit, fromInitiator
	binary.BigEndian.PutUint32(head[24:], uint32(len(head)))
	return head
}
