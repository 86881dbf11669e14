package ikev1

import (
	"bytes"
	"net/netip"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
)

// Ports of IKE and of IKE with ESP in UDP, RFC 3947 section 4.
const (
	portIKE  = 500
	portNATT = 4500
)

// forcesEncap reports whether we ask for ESP in UDP where there is no NAT. A
// peer of FreeS/WAN's days that knows nothing of it gets plain ESP.
func (s *SA) forcesEncap() bool {
	return ike.ForcesEncap(s.conn, s.cfg.PAD, s.first, s.local.Addr(), s.remote.Addr())
}

// natPayloads tell the peer where a message goes to and comes from, RFC 3947
// section 3.2: the receiver's address first. To make it encapsulate ESP where
// there is no NAT the source is falsified, as if there were one before us.
func (s *SA) natPayloads() []wire.Payload {
	if !s.natPeerKnows {
		return nil
	}
	prf := s.chosen.PRF
	src := natHash(prf, s.spiI, s.spiR, s.local)
	if s.forcesEncap() {
		src = s.random(len(src))
	}
	return []wire.Payload{
		wire.NATD{Draft: s.natDraft, Hash: natHash(prf, s.spiI, s.spiR, s.remote)},
		wire.NATD{Draft: s.natDraft, Hash: src},
	}
}

// natDetect compares what the peer saw with what we see. Payloads in the wrong
// number mean that there is nothing to be had (V1-22).
func (s *SA) natDetect(ds []wire.NATD) {
	if !s.natPeerKnows || len(ds) < 2 {
		s.natPeerKnows = false
		return
	}
	prf := s.chosen.PRF
	s.natLocal = !bytes.Equal(ds[0].Hash, natHash(prf, s.spiI, s.spiR, s.local))
	s.natRemote = true
	seen := natHash(prf, s.spiI, s.spiR, s.remote)
	for _, d := range ds[1:] { // a host with several addresses sends several
		if bytes.Equal(d.Hash, seen) {
			s.natRemote = false
		}
	}
	s.encap = s.natLocal || s.natRemote || s.forcesEncap()
}

// float moves an exchange that began on port 500 to port 4500, RFC 3947
// section 4. Other ports were chosen by somebody and stay.
func (s *SA) float() {
	if s.local.Port() == portIKE {
		s.local = netip.AddrPortFrom(s.local.Addr(), portNATT)
	}
	if s.remote.Port() == portIKE {
		s.remote = netip.AddrPortFrom(s.remote.Addr(), portNATT)
	}
}

// encapPorts is what ESP travels in. AH has no encapsulation.
func (s *SA) encapPorts() ipsec.Encap {
	if !s.encap {
		return ipsec.Encap{}
	}
	return ike.EncapPorts(s.local, s.remote)
}

// originals are the NAT-OA payloads of a Quick Mode in transport mode behind a
// NAT: the addresses as we see them, the initiator's first (RFC 3947, 5.2).
func (s *SA) originals(t terms, initiator bool) []wire.Payload {
	if !t.udp || t.mode != ipsec.Transport {
		return nil
	}
	i, r := s.local.Addr().Unmap(), s.remote.Addr().Unmap()
	if !initiator {
		i, r = r, i
	}
	return []wire.Payload{wire.NATOA{Draft: s.natDraft, Addr: i}, wire.NATOA{Draft: s.natDraft, Addr: r}}
}

// original is what the peer's transport checksums cover: the addresses as the
// peer sees them, which its NAT-OA payloads name (RFC 3947, 5.2).
func (q *quick) original() ipsec.Original {
	if q.terms.mode != ipsec.Transport || !q.terms.udp || len(q.oas) != 2 {
		return ipsec.Original{}
	}
	i, r := q.oas[0].Addr, q.oas[1].Addr
	if q.first { // the peer is the responder
		i, r = r, i
	}
	return ipsec.Original{Src: i, Dst: r}
}
