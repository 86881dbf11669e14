package ikev2

import (
	"bytes"
	"crypto/sha1"
	"net/netip"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/octet"
)

// natHash is the data of NAT_DETECTION_*_IP, RFC 7296 section 2.23:
// SHA-1(SPIi | SPIr | address | port). It protects nothing, so SHA-1 will do.
func natHash(spiI, spiR uint64, a netip.AddrPort) []byte {
	b := octet.AppendUint64(nil, spiI)
	b = octet.AppendUint64(b, spiR)
	b = append(b, a.Addr().Unmap().AsSlice()...)
	b = octet.AppendUint16(b, a.Port())
	sum := sha1.Sum(b)
	return sum[:]
}

// natNotifies tells the peer where a message goes from and to. To make it
// encapsulate ESP where there is no NAT the source is falsified, as if there
// were one before us (2.23 leaves no other way to ask).
func (s *step) natNotifies(spiR uint64) []wire.Payload {
	return s.natNotifiesOf(spiR, s.local, s.remote)
}

func (s *step) natNotifiesOf(spiR uint64, local, remote netip.AddrPort) []wire.Payload {
	src := natHash(s.spiI, spiR, local)
	if s.forcesEncap() && s.tcp == tcpNone {
		src = s.random(sha1.Size)
	}
	return []wire.Payload{
		wire.NewNotify(ike.NotifyNATDetectionSource, src),
		wire.NewNotify(ike.NotifyNATDetectionDestination, natHash(s.spiI, spiR, remote)),
	}
}

// forcesEncap reports whether we ask for ESP in UDP where there is no NAT.
func (s *SA) forcesEncap() bool {
	return s.conn == nil || s.tcp != tcpNone || ike.ForcesEncap(s.conn, s.cfg.PAD, s.began, s.local.Addr(), s.remote.Addr())
}

// keepsAlive reports whether there is a mapping of a NAT to keep: none of TCP
// (RFC 9329, 7.5).
func (s *SA) keepsAlive() bool { return s.natLocal && s.tcp == tcpNone }

// natDetect compares what the peer saw with what we see. A peer that says
// nothing knows nothing of encapsulation.
func (s *SA) natDetect(spiR uint64, ps wire.Payloads) {
	src, dst := ps.NotifyAll(ike.NotifyNATDetectionSource), ps.NotifyAll(ike.NotifyNATDetectionDestination)
	s.natPeerKnows = len(src) > 0 && len(dst) > 0
	if !s.natPeerKnows {
		return
	}
	s.natRemote = !anyData(src, natHash(s.spiI, spiR, s.remote))
	s.natLocal = !anyData(dst, natHash(s.spiI, spiR, s.local))
	s.encap = s.natRemote || s.natLocal || s.forcesEncap()
}

// anyData reports whether one of ns has that data. A host with several
// addresses sends a source notify for each.
func anyData(ns []wire.Notify, want []byte) bool {
	for _, n := range ns {
		if bytes.Equal(n.Data, want) {
			return true
		}
	}
	return false
}

// Ports of IKE and of IKE with ESP in UDP, RFC 7296 section 2.23.
const (
	portIKE  = 500
	portNATT = 4500
)

// float moves an exchange that began on port 500 to port 4500. Other ports
// were chosen by somebody and stay.
func (s *SA) float() {
	if s.local.Port() == portIKE {
		s.local = netip.AddrPortFrom(s.local.Addr(), portNATT)
	}
	if s.remote.Port() == portIKE {
		s.remote = netip.AddrPortFrom(s.remote.Addr(), portNATT)
	}
}
