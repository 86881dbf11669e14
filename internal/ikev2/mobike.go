package ikev2

import (
	"bytes"
	"crypto/subtle"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/octet"
)

// MOBIKE, RFC 4555: who began the IKE SA may go on from another address. Only
// the control path moves at once. The Child SAs are replaced by rekeying, so
// that each key serves one pair of addresses and one sequence of packet numbers,
// and so that no packet goes to an address before its owner has shown that it
// receives there: the keys need the nonce that is sent to it.

// move is the command of that name.
func (s *step) move(ev ike.Move) {
	if s.state == stateReplaced {
		s.tellSuccessor(ev)
		return
	}
	if s.state != stateUp || !s.mobike || !s.began || !ev.Local.IsValid() || ev.Local == s.local.Addr() {
		return
	}
	to := netip.AddrPortFrom(ev.Local, s.local.Port())
	s.note("moving from %s to %s", s.local, to)
	s.hangUp()
	s.local, s.lastMoved, s.seenAs = to, s.now, nil
	if s.tcp == tcpOpens {
		s.openTCP(ev.Local)
	}
	if p := s.win.pending; p != nil { // 3.5: what is outstanding goes on from here
		s.transmit(s.way(), p.msg)
	}
	s.update()
}

// update tells the peer where we are, unless that is about to happen.
func (s *step) update() {
	if !s.waits(isMove) {
		// Before all else that waits: new Child SAs depend on where the peer
		// sees us.
		s.tasks = append([]waiting{{task: &moveTask{}}}, s.tasks...)
	}
}

func isMove(t task) bool { _, is := t.(*moveTask); return is }

// waits reports whether such a task is in line.
func (s *SA) waits(is func(task) bool) bool {
	return slices.ContainsFunc(s.tasks, func(w waiting) bool { return is(w.task) })
}

// moveTask tells the peer our address, RFC 4555 section 3.5:
//
//	HDR, SK {N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION…), N(COOKIE2)} -->
//	<-- HDR, SK {N(NAT_DETECTION…), N(COOKIE2)}
type moveTask struct {
	local  netip.AddrPort
	cookie []byte
}

func (t *moveTask) begin(s *step) {
	t.local, t.cookie = s.local, s.random(cookie2Len)
	ps := []wire.Payload{wire.NewNotify(ike.NotifyUpdateSAAddresses, nil)}
	ps = append(ps, s.natNotifies(s.spiR)...)
	s.request(ike.Informational, append(ps, wire.NewNotify(ike.NotifyCookie2, t.cookie))...)
}

func (t *moveTask) answer(s *step, ps wire.Payloads) {
	s.finish(t)
	if n, bad := ps.Failure(); bad {
		s.close(refusedBy(n, "our new address"))
		return
	}
	if !echoes(ps, t.cookie) {
		s.close(errCookie2)
		return
	}
	if t.local != s.local { // moved on meanwhile
		s.update()
		return
	}
	s.natDetect(s.spiR, ps)
	s.sees(ps)
	s.rehome()
}

// watchesPath reports whether a NAT before us may change the address by which
// the peer knows us. Then liveness checks ask how we look (3.8). What they are
// compared with is of one IKE SA, as its SPIs go into it: so the first thing that
// is said in each is our address, which may have changed since the one before it
// heard how it looked.
func (s *SA) watchesPath() bool { return s.mobike && s.began && s.natLocal && s.tcp == tcpNone }

// sees takes the answer to that. An address that has changed is told like any
// other move.
func (s *step) sees(ps wire.Payloads) {
	n, ok := ps.Notify(ike.NotifyNATDetectionDestination)
	if !ok {
		return
	}
	changed := s.seenAs != nil && !bytes.Equal(s.seenAs, n.Data)
	s.seenAs = clone(n.Data)
	if changed {
		s.update()
	}
}

func (t *moveTask) abandon(*step, *ike.Failure) {}

// errCookie2 ends an IKE SA whose peer answers what it has not read (3.7).
var errCookie2 = &ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer's COOKIE2 is not ours"}

func echoes(ps wire.Payloads, cookie []byte) bool {
	n, ok := ps.Notify(ike.NotifyCookie2)
	return ok && subtle.ConstantTimeCompare(n.Data, cookie) == 1
}

// rehome replaces the Child SAs that are of other addresses or ports.
func (s *step) rehome() {
	s.keepAliveAt = time.Time{}
	if s.keepsAlive() {
		s.keepAliveAt = s.firstKeepAlive()
	}
	for _, c := range s.children {
		s.rehomeChild(c)
	}
}

// rehomeChild replaces one of them. A pair that the peer has asked for and may
// not have yet has its turn when the peer is known to be ready.
func (s *step) rehomeChild(c *child) {
	if s.mobike && c.state == childUp && c.used && s.displaced(c) {
		s.rekeyChild(c)
	}
}

// displaced reports whether a pair is of other addresses, ports or another TCP
// connection than the IKE SA.
func (s *SA) displaced(c *child) bool {
	return c.in.Dst != s.local.Addr() || c.out.Dst != s.remote.Addr() || c.encap != s.encapPorts(c.in.Proto)
}

// updateRequest follows the peer to where its request came from.
func (s *step) updateRequest(in inbound) {
	if !s.mayComeFrom(in.remote.Addr()) {
		s.refuse(&ike.NotifyError{Type: ike.NotifyUnacceptableAddresses})
		return
	}
	if n, ok := in.Notify(ike.NotifyNoNATsAllowed); ok && !bytes.Equal(n.Data, pathOctets(in.remote, in.local)) {
		s.refuse(&ike.NotifyError{Type: ike.NotifyUnexpectedNAT})
		return
	}
	if in.remote != s.remote || in.local != s.local {
		s.note("the peer moved from %s to %s", s.remote, in.remote)
		s.goOver(in.way())
	}
	s.natDetect(s.spiR, in.Payloads)
	s.respond(append(s.deleteChildren(in.Payloads), s.pathReply(in)...)...)
	s.checkPath()
}

// mayComeFrom reports whether the connection admits an address of the peer.
func (s *SA) mayComeFrom(a netip.Addr) bool {
	from := s.conn.MobileFrom
	return len(from) == 0 || slices.ContainsFunc(from, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

// pathOctets is the data of NO_NATS_ALLOWED, section 4.2.6: source address,
// destination address, source port, destination port.
func pathOctets(src, dst netip.AddrPort) []byte {
	b := append(src.Addr().Unmap().AsSlice(), dst.Addr().Unmap().AsSlice()...)
	return octet.AppendUint16(octet.AppendUint16(b, src.Port()), dst.Port())
}

// pathReply is what an INFORMATIONAL request about the path is answered with:
// what we see of it (3.8), and the peer's COOKIE2 (3.7).
func (s *step) pathReply(in inbound) (ps []wire.Payload) {
	if !s.mobike {
		return nil
	}
	if says(in.Payloads, ike.NotifyNATDetectionSource) {
		ps = s.natNotifiesOf(s.spiR, in.local, in.remote)
	}
	if n, ok := in.Notify(ike.NotifyCookie2); ok {
		ps = append(ps, wire.NewNotify(ike.NotifyCookie2, n.Data))
	}
	return ps
}

// checkPath makes sure of a check of the peer's new address, no faster than
// checkPathEvery.
func (s *step) checkPath() {
	if s.waits(func(t task) bool { _, is := t.(*pathTask); return is }) {
		return
	}
	s.tasks = append(s.tasks, waiting{&pathTask{}, s.lastMoved.Add(checkPathEvery)})
}

// pathWork is the part of what is under way that a successor has to do anew: the
// Child SAs, which are its own now, follow an address only after that.
func (s *step) pathWork() []waiting {
	switch s.active.(type) {
	case *moveTask:
		return []waiting{{task: &moveTask{}}}
	case *pathTask:
		return []waiting{{&pathTask{}, s.lastMoved.Add(checkPathEvery)}}
	}
	return nil
}

// pathTask is the return routability check, section 3.7: data follows the peer
// to an address only when it has answered from there.
//
//	HDR, SK {N(COOKIE2)} -->
//	<-- HDR, SK {N(COOKIE2)}
type pathTask struct {
	remote netip.AddrPort
	cookie []byte
}

func (t *pathTask) begin(s *step) {
	t.remote, t.cookie, s.lastMoved = s.remote, s.random(cookie2Len), s.now
	s.request(ike.Informational, wire.NewNotify(ike.NotifyCookie2, t.cookie))
}

func (t *pathTask) answer(s *step, ps wire.Payloads) {
	s.finish(t)
	switch {
	case !echoes(ps, t.cookie):
		s.close(errCookie2)
	case t.remote != s.remote:
		s.checkPath()
	default:
		s.rehome()
	}
}

func (t *pathTask) abandon(*step, *ike.Failure) {}
