package ikev1

import (
	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
)

// Certificates, RFC 2408 sections 3.9 and 3.10: the machine carries them between
// the wire and the jobs that know what they mean.

// certsOf lists the CERT payloads of a message.
func certsOf(ps wire.Payloads) []ike.Cert {
	var list []ike.Cert
	for _, c := range ps.CERTs() {
		list = append(list, ike.Cert{Encoding: ike.CertEncoding(c.Encoding), Data: clone(c.Data)})
	}
	return list
}

// certPayloads are what goes before our SIG, the end entity's first.
func certPayloads(certs []ike.Cert) []wire.Payload {
	var list []wire.Payload
	for _, c := range certs {
		list = append(list, wire.CERT{Encoding: uint8(c.Encoding), Data: c.Data})
	}
	return list
}

// heedRequests notes that the peer asks for a certificate. It may name a CA, or
// several in as many payloads (RFC 2408 section 3.10); ours goes along whichever
// it is, as the peer says itself whether it will do.
func (s *step) heedRequests(ps wire.Payloads) {
	for _, r := range ps.CERTREQs() {
		s.hs.asked = s.hs.asked || r.Encoding == uint8(ike.CertX509)
	}
}

// certRequest asks the remote end for a certificate where one may prove who it
// is. It goes with the key exchange, so that the peer knows it in time.
func (s *step) certRequest() []wire.Payload {
	if s.cfg.Authority == nil || s.chosen.method != ike.AuthPubkey || !s.conn.Remote.Certs.Use() {
		return nil
	}
	name, ok := s.cfg.Authority(s.conn)
	if !ok {
		return nil
	}
	return []wire.Payload{wire.CERTREQ{Encoding: uint8(ike.CertX509), Authority: name}}
}

// proved keeps by which certificates the peer has proved itself, and passes on
// what a stricter policy would have refused.
func (s *step) proved(v ike.Verified) {
	s.peerCerts = v.Chain
	for _, w := range v.Warnings {
		s.note("%s", w)
	}
}
