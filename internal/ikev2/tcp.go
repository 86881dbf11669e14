package ikev2

import (
	"cmp"
	"fmt"
	"net/netip"

	"cygnet/internal/ike"
)

// IKE and ESP over TCP, RFC 9329. Who begins the IKE SA opens the connection and
// opens it again when it is lost; the other end answers by the newest one from
// which an authentic message has come (section 6.1). That the connection is
// lost changes nothing in the SAs. Messages are repeated as by UDP, which
// section 6.2 finds needless while the connection stands: but one that found no
// room in its queue is lost all the same.

// tcpRole is what we do about the TCP connection of an IKE SA.
type tcpRole uint8

const (
	tcpNone   tcpRole = iota
	tcpOpens          // we open it, and open it again
	tcpAnswer         // the peer does
)

// fallBackAfter is how often the first request is repeated by UDP before TCP is
// tried: by the usual times some seconds, in which a path that carries UDP has
// carried one of them.
const fallBackAfter = 3

// way is where a message goes, or came from.
type way struct {
	local, remote netip.AddrPort
	stream        bool // by TCP
}

// way is that of the IKE SA.
func (s *SA) way() way { return way{s.local, s.remote, s.tcp != tcpNone} }

// way is the one that a message came by.
func (in inbound) way() way { return way{in.local, in.remote, in.stream} }

// goOver goes over to the way of a message.
func (s *SA) goOver(w way) {
	s.local, s.remote = w.local, w.remote
	if s.tcp != tcpOpens {
		s.tcp = tcpNone
		if w.stream {
			s.tcp = tcpAnswer
		}
	}
}

// openTCP takes a way by TCP. Its port at our end is new: no two IKE SAs may
// share a connection (6.1), and that of a lost one is not free for a while.
func (s *SA) openTCP(local netip.Addr) {
	s.tcp, s.sure, s.users = tcpOpens, netip.AddrPort{}, new(1)
	s.local = netip.AddrPortFrom(local, uint16(firstDynamic+s.fraction()*(1<<16-firstDynamic)))
	s.remote = netip.AddrPortFrom(s.remote.Addr(), cmp.Or(s.conn.TCPPort, portNATT))
}

// firstDynamic is where the dynamic ports begin, RFC 6335 section 6.
const firstDynamic = 49152

// fallBack goes over to TCP when the first request has had no answer by UDP. The
// request stays as it is, and its time begins anew: there was nobody to answer.
func (s *step) fallBack(p *pending) {
	if s.tcp != tcpNone || s.state != stateInitI || p.count != fallBackAfter || s.conn.TCP != ike.TCPFallback {
		return
	}
	s.openTCP(s.local.Addr())
	_, total := patience(s.conn)
	p.giveUp = s.now.Add(total)
	s.hs.giveUp = p.giveUp
	t := states[s.state]
	s.report(ike.State{Code: t.code, Name: t.name, Text: fmt.Sprintf("no answer by UDP: trying TCP to %s", s.remote)})
}

// streamLost opens another connection, by whatever there is to say: without a
// word from us the peer cannot send either. The Child SAs follow.
func (s *step) streamLost(ev ike.StreamLost) {
	if s.tcp != tcpOpens || s.local != ev.Local || s.remote != ev.Remote {
		return
	}
	s.openTCP(s.local.Addr())
	if p := s.win.pending; p != nil {
		s.transmit(s.way(), p.msg)
	}
	s.probe()
	s.rehomeTCP()
}

// rehomeTCP replaces the Child SAs that are of another connection.
func (s *step) rehomeTCP() {
	for _, c := range s.children {
		if c.state == childUp && s.displaced(c) {
			s.rekeyChild(c)
		}
	}
}

// inheritTCP makes s share the connection of the IKE SA that it replaces, which is
// the one case in which two may (6.1).
func (s *SA) inheritTCP(of *SA) {
	s.tcp, s.sure, s.users = of.tcp, of.sure, of.users
	if s.users != nil {
		*s.users++
	}
}

// hangUp leaves the connection, and closes it if nobody else has it.
func (s *step) hangUp() {
	if s.tcp != tcpOpens {
		return
	}
	if *s.users--; *s.users == 0 {
		s.emit(ike.HangUp{Local: s.local, Remote: s.remote})
	}
}

// confirmStream says once of each connection that the peer is authentic.
func (s *step) confirmStream(w way) {
	if w.stream && s.sure != w.remote {
		s.sure = w.remote
		s.emit(ike.StreamGood{Local: w.local, Remote: w.remote})
	}
}
