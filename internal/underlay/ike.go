package underlay

import (
	"errors"
	"fmt"
	"net/netip"
)

var (
	errNoSocket   = errors.New("no socket of that family")
	errNoStream   = errors.New("no connection")
	errStreamFull = errors.New("the peer is slow, or the message too long")
)

// SendIKE implements Underlay. Messages larger than the MTU are fragmented by
// IP; IKE has its own fragmentation (RFC 7383) above.
func (h *Host) SendIKE(local, remote netip.AddrPort, msg []byte) error {
	if local.Port() != h.o.NATTPort {
		return h.sendUDP(local, remote, msg)
	}
	return h.sendUDP(local, remote, append(make([]byte, markerLen, markerLen+len(msg)), msg...))
}

// SendKeepalive implements Underlay. When to send is the caller's affair: every
// 20 seconds where a NAT is between and nothing else was sent.
func (h *Host) SendKeepalive(local, remote netip.AddrPort) error {
	return h.sendUDP(local, remote, []byte{0xff})
}

func (h *Host) sendUDP(local, remote netip.AddrPort, b []byte) error {
	f := 0
	if remote.Addr().Is6() {
		f = 1
	}
	list := h.ike[f]
	if local.Port() == h.o.NATTPort {
		list = h.natt[f]
	}
	if len(list) == 0 {
		return fmt.Errorf("send to %s: %w", remote, errNoSocket)
	}
	sock := list[0]
	h.ikeMu.Lock()
	defer h.ikeMu.Unlock()
	s := h.ikeOut
	sock.mu.Lock()
	defer sock.mu.Unlock()
	defer h.rest(sock)
	if err := sock.setDF(false); err != nil {
		return fmt.Errorf("send to %s: %w", remote, err)
	}
	var res Result
	s.push(sock, &Message{Local: local.Addr(), Remote: remote}, b, 0)
	s.flush(sock, &res)
	if res != (Result{}) {
		return fmt.Errorf("send %d octets to %s: %w", len(b), remote, s.errno)
	}
	return nil
}
