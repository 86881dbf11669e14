package ikev2

import (
	"errors"
	"net/netip"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
)

// inbound is a message on its way to a handler. Payloads are those inside SK.
type inbound struct {
	ike.Header
	wire.Payloads
	msg           []byte
	inner         opened
	local, remote netip.AddrPort
	stream        bool // it came by TCP
}

// opened is what stood inside SK, or in all fragments together.
type opened struct {
	next  ike.PayloadType
	plain []byte
}

// receive takes one datagram. Dropping changes nothing but token buckets: what
// is not authenticated must not leave a trace.
func (s *step) receive(ev ike.Received) {
	h, err := ike.ParseHeader(ev.Msg)
	if err != nil || h.Major != ike.Version2 || !s.mine(h) {
		return
	}
	in := inbound{Header: h, msg: ev.Msg, local: ev.Local, remote: ev.Remote, stream: ev.Stream}
	if in.clear() && s.established() {
		s.hint(in)
		return
	}
	if h.Response() {
		s.receiveResponse(in)
	} else {
		s.receiveRequest(in)
	}
}

// mine reports whether a message is of this IKE SA and from its other end.
// IKE_SA_INIT goes without the responder's SPI.
func (s *SA) mine(h ike.Header) bool {
	if h.SPIi != s.spiI || h.FromInitiator() == s.first {
		return false
	}
	return h.SPIr == s.spiR || h.Exchange == ike.SAInit || h.Exchange == ike.Resume
}

func (s *step) receiveRequest(in inbound) {
	switch s.win.judge(in.MessageID, in.msg) {
	case drop:
		return
	case replay:
		s.answerAgain(in)
		return
	case replayFragment:
		if s.repeats(in) {
			s.answerAgain(in)
		}
		return
	}
	handle := legal(cell{s.state, in.Exchange, isRequest})
	strange := s.established() && !known(in.Exchange)
	if handle == nil && !strange || in.Exchange == ike.Intermediate && !s.midAgreed() {
		return
	}
	ps, err := s.unseal(&in)
	bad, isNotify := errors.AsType[*ike.NotifyError](err)
	if err != nil && !isNotify {
		return
	}
	if s.established() && s.tooMany() {
		return
	}
	s.heard(in)
	s.goesOn()
	s.win.take(in, in.Exchange)
	switch {
	case isNotify && s.established() && bad.Type == ike.NotifyUnsupportedCritical:
		s.refuse(bad) // RFC 7296, 2.21.3: the IKE SA stays
	case isNotify:
		s.fatal(bad)
	case strange: // 2.21.3
		s.fatal(&ike.NotifyError{Type: ike.NotifyInvalidSyntax, Why: in.Exchange.String() + " is not supported"})
	default:
		in.Payloads = ps
		handle(s, in)
	}
}

// tooMany reports whether an authenticated peer asks more often than anybody
// needs to (RES-14). Its request is then as good as lost: an honest peer repeats
// it. One that keeps pressing is not honest.
func (s *step) tooMany() bool {
	if s.win.asks.Take(s.now, requestBurst, requestPerSec) {
		s.win.ignored = 0
		return false
	}
	if s.win.ignored++; s.win.ignored == maxIgnored {
		s.close(&ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer sends more requests than it can need"})
	}
	return true
}

func (s *step) receiveResponse(in inbound) {
	p := s.win.pending
	if p == nil || in.MessageID != p.id || in.Exchange != p.exchange {
		return
	}
	if s.state == stateInitI {
		s.receiveInitResponse(in)
		return
	}
	handle := legal(cell{s.state, in.Exchange, isResponse})
	if handle == nil {
		return
	}
	ps, err := s.unseal(&in)
	bad, isNotify := errors.AsType[*ike.NotifyError](err)
	if err != nil && !isNotify {
		return
	}
	s.heard(in)
	s.win.pending = nil
	if isNotify {
		s.badResponse(bad)
		return
	}
	in.Payloads = ps
	handle(s, in)
}

// badResponse ends the exchange whose verified answer cannot be read. Nothing
// is sent back about a response; an unreadable one ends the IKE SA by a Delete
// (RFC 7296, 2.21.3), one with an unknown critical payload only its exchange.
func (s *step) badResponse(bad *ike.NotifyError) {
	why := &ike.Failure{Reason: ike.ReasonProtocol, Why: "cannot use the peer's response: " + bad.Why, Notify: bad.Type}
	switch s.state {
	case stateMidI:
		s.fail(why)
		return
	case stateAuthI:
		s.authFailed(why)
		return
	}
	if t := s.active; t != nil {
		s.active = nil
		t.abandon(s, why)
	}
	if bad.Type != ike.NotifyUnsupportedCritical {
		s.close(why)
	} else if s.deleteWanted {
		s.close(nil)
	}
}

// unseal verifies and decodes a protected message. Failures of the check are
// counted, because each costs a MAC.
func (s *step) unseal(in *inbound) (wire.Payloads, error) {
	if !s.icvFailures.Peek(s.now, icvBurst, icvPerSec) {
		return nil, &ike.DropError{Reason: "icv", Why: "too many forged messages"}
	}
	inner, err := s.open(*in)
	if _, dropped := errors.AsType[*ike.DropError](err); dropped {
		s.icvFailures.Take(s.now, icvBurst, icvPerSec)
	}
	if err != nil {
		return nil, err
	}
	in.inner = inner
	return wire.Decode(in.Header, inner.next, inner.plain)
}

// open decrypts a message that is protected in one piece or in fragments.
func (s *step) open(in inbound) (opened, error) {
	if in.Next == ike.PayloadSKF {
		return s.assemble(in)
	}
	sk, err := wire.OpenSK(in.msg, s.opener)
	return opened{sk.Next, sk.Body}, err
}

// heard notes an authenticated message: the peer lives, and it is where the
// message came from. Only a peer behind a NAT moves (RFC 7296, 2.23), and only
// a message that is the next in the window gets here, so that a repeated one
// cannot move it back.
func (s *step) heard(in inbound) {
	s.lastHeard = s.now
	if s.established() {
		s.confirmStream(in.way())
	}
	switch {
	case in.way() == s.way(), s.tcp == tcpOpens: // who opens the connection knows where the peer is
	case s.established() && in.stream && (!s.mobike || in.remote.Addr() == s.remote.Addr()):
		// The newest connection counts (RFC 9329, 6.1).
		s.moveTo(in.way())
	case s.tcp == tcpAnswer: // a word by UDP takes nobody off TCP
	case s.established() && s.natRemote && !s.mobike: // with MOBIKE the peer says so (RFC 4555, 3.8)
		s.moveTo(in.way())
	case !s.established() && !s.first:
		// The initiator has floated to port 4500, or its NAT has moved it.
		s.goOver(in.way())
	}
}

// moveTo takes a new address of the peer. Its Child SAs are rekeyed rather than
// changed in place, so that each key serves one pair of addresses and one
// sequence of packet numbers.
func (s *step) moveTo(w way) {
	if w == s.way() || s.now.Before(s.lastMoved.Add(moveEvery)) && !w.stream { // by TCP nothing is left where it was
		return
	}
	s.note("the peer moved from %s to %s", s.remote, w.remote)
	s.goOver(w)
	s.lastMoved = s.now
	for _, c := range s.children {
		if c.state == childUp {
			s.rekeyChild(c)
		}
	}
}

// plane handles what the data plane says about our Child SAs.
func (s *step) plane(ev ipsec.Event) {
	switch ev := ev.(type) {
	case ipsec.FirstUse:
		if c := s.childByIn(ev.ID); c != nil {
			s.lastHeard = s.now
			s.useChild(c)
		}
	case ipsec.Expire:
		if c := s.childByID(ev.ID); c != nil && c.state == childUp {
			s.childLimit(c, ev.Hard)
		}
	case ipsec.Lost:
		if c := s.childByID(ev.ID); c != nil && c.state == childUp {
			s.childLost(c)
		}
	case ipsec.PeerMoved:
		if c := s.childByIn(ev.ID); c != nil && c.state == childUp && s.encap && s.state == stateUp && (!s.mobike || s.tcp == tcpAnswer) && s.tcp != tcpOpens {
			s.lastHeard = s.now
			s.moveTo(way{s.local, ev.From, s.tcp != tcpNone})
		}
	}
}
