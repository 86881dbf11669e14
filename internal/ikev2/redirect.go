package ikev2

import (
	"crypto/subtle"
	"net/netip"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/octet"
)

// Redirect, RFC 5685: a gateway sends its peers to another one, in the clear as
// the answer to IKE_SA_INIT, at the end of IKE_AUTH, or later:
//
//	HDR, SAi1, KEi, Ni, N(REDIRECT_SUPPORTED) -->
//	<-- HDR, N(REDIRECT)
//
// Only whoever said that it goes where it is sent is sent anywhere. The other
// gateway must prove that it is who the connection is for, so that being sent
// astray costs time and nothing else; how often it may happen is limited by the
// connection table, which makes the new IKE SA.

// Kinds of gateway identity, section 7.2. Names are neither sent nor followed:
// who resolves them would decide where we go.
const (
	gatewayIPv4 = 1
	gatewayIPv6 = 2
)

// appendGateway appends New Responder GW Identity with its type and length.
func appendGateway(b []byte, a netip.Addr) []byte {
	kind := byte(gatewayIPv6)
	if a = a.Unmap(); a.Is4() {
		kind = gatewayIPv4
	}
	return append(append(b, kind, byte(a.BitLen()/8)), a.AsSlice()...)
}

// parseGateway reads one, and the nonce that may follow.
func parseGateway(data []byte) (a netip.Addr, nonce []byte, ok bool) {
	r := octet.NewReader(data)
	kind := r.Uint8()
	addr := r.Bytes(int(r.Uint8()))
	nonce = r.Rest()
	if r.Err() != nil {
		return netip.Addr{}, nil, false
	}
	a, ok = netip.AddrFromSlice(addr)
	ok = ok && a.Is4() == (kind == gatewayIPv4) && a.Is6() == (kind == gatewayIPv6) &&
		!a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
	return a, nonce, ok
}

// redirectOffer is what our IKE_SA_INIT says: that we go where we are sent, or
// that we have been sent here.
func (s *step) redirectOffer() []wire.Payload {
	c := s.conn
	switch {
	case !c.AcceptRedirect || c.Remote.Host: // what a host protects is its own address
		return nil
	case s.remote.Addr() != c.Remote.Addr: // section 4
		return []wire.Payload{wire.NewNotify(ike.NotifyRedirectedFrom, appendGateway(nil, c.Remote.Addr))}
	}
	return []wire.Payload{wire.NewNotify(ike.NotifyRedirectSupported, nil)}
}

// redirectable reports whether an initiator goes where it is sent.
func redirectable(ps wire.Payloads) bool {
	return says(ps, ike.NotifyRedirectSupported) || says(ps, ike.NotifyRedirectedFrom)
}

// sentTo reads a REDIRECT that concerns us: announced, to another gateway than
// this one, and one that the connection allows.
func (s *step) sentTo(ps wire.Payloads) (to netip.Addr, nonce []byte, ok bool) {
	n, has := ps.Notify(ike.NotifyRedirect)
	if !has || !s.began || s.redirectOffer() == nil {
		return netip.Addr{}, nil, false
	}
	to, nonce, ok = parseGateway(n.Data)
	return to, nonce, ok && to != s.remote.Addr().Unmap() && s.conn.MayRedirect(to)
}

// redirectedInit follows a REDIRECT in answer to IKE_SA_INIT, if it has our
// nonce: whoever sent it has at least seen the request (section 3). It reports
// whether the message was one, followed or not.
func (s *step) redirectedInit(ps wire.Payloads) bool {
	if !says(ps, ike.NotifyRedirect) {
		return false
	}
	to, nonce, ok := s.sentTo(ps)
	if !ok || subtle.ConstantTimeCompare(nonce, s.hs.ni) != 1 {
		return true
	}
	s.report(ike.Redirected{To: to})
	s.die()
	return true
}

// redirectedAuth follows one at the end of IKE_AUTH, where the peer has proven
// itself. It reports whether there was one.
func (s *step) redirectedAuth(ps wire.Payloads) bool {
	if !says(ps, ike.NotifyRedirect) {
		return false
	}
	to, _, ok := s.sentTo(ps)
	if !ok {
		s.authFailed(&ike.Failure{Reason: ike.ReasonOther, Why: "the peer sends us elsewhere, where the connection does not go", ByPeer: true})
		return true
	}
	s.report(ike.Redirected{To: to})
	if o := s.hs.offer; o != nil {
		s.release(o)
		s.hs.offer = nil
	}
	s.hs = nil
	s.bye(0)
	return true
}

// redirectedLater takes one in an IKE SA that is up (section 5). The children
// move when the new IKE SA has theirs.
func (s *step) redirectedLater(ps wire.Payloads) {
	if to, _, ok := s.sentTo(ps); ok {
		s.report(ike.Redirected{To: to})
	}
}

// redirectPeer is what an answer to IKE_AUTH says to a peer that is to go
// elsewhere; nothing if it may stay.
func (s *step) redirectPeer() []wire.Payload {
	to := s.conn.RedirectTo
	if !to.IsValid() || !s.hs.redirectable {
		return nil
	}
	return []wire.Payload{wire.NewNotify(ike.NotifyRedirect, appendGateway(nil, to))}
}

// redirectAll sends a caller elsewhere without keeping anything. One that was
// sent here is let in, lest two gateways play ball with it.
func (g *Gate) redirectAll(in inbound) (wire.Payload, bool) {
	to := g.cfg.RedirectTo
	nonce, ok := in.Nonce()
	if !to.IsValid() || !ok || !says(in.Payloads, ike.NotifyRedirectSupported) || says(in.Payloads, ike.NotifyRedirectedFrom) {
		return nil, false
	}
	return wire.NewNotify(ike.NotifyRedirect, append(appendGateway(nil, to), nonce.Data...)), true
}
