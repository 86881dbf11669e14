package ikev2

import (
	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// Certificates, RFC 7296 sections 3.6 and 3.7: the machine only carries them
// between the wire and the jobs that know what they mean.

// certsOf lists the CERT payloads of a message for ike.Verify.
func certsOf(ps wire.Payloads) []ike.Cert {
	var list []ike.Cert
	for _, c := range ps.CERTs() {
		list = append(list, ike.Cert{Encoding: ike.CertEncoding(c.Encoding), Data: clone(c.Data)})
	}
	return list
}

// askedOf lists the CERTREQ payloads of a message for ike.Prove.
func askedOf(ps wire.Payloads) []ike.CertRequest {
	var list []ike.CertRequest
	for _, c := range ps.CERTREQs() {
		list = append(list, ike.CertRequest{Encoding: ike.CertEncoding(c.Encoding), Authorities: clone(c.Authorities)})
	}
	return list
}

// certPayloads are what goes with our AUTH, the end entity's first.
func certPayloads(certs []ike.Cert) []wire.Payload {
	var list []wire.Payload
	for _, c := range certs {
		list = append(list, wire.CERT{Encoding: uint8(c.Encoding), Data: c.Data})
	}
	return list
}

// certRequest asks the remote end of a connection for a certificate, if that
// may prove who it is.
func (s *step) certRequest(c *ike.Conn) []wire.Payload {
	if s.cfg.Authorities == nil || !c.Remote.Certs.Use() {
		return nil
	}
	hashes, ok := s.cfg.Authorities(c)
	if !ok {
		return nil
	}
	return []wire.Payload{wire.CERTREQ{Encoding: wire.CertX509Signature, Authorities: hashes}}
}

// initCertRequest asks whoever is calling, of whom nothing but the address is
// known. The answer must not be longer than the request (trust.md T5): where
// the hashes do not fit, none of them asks for any certificate, and where that
// does not fit, nobody is asked.
func (s *step) initCertRequest(room int) []wire.Payload {
	if s.cfg.Authorities == nil || !s.certsAccepted() {
		return nil
	}
	hashes, ok := s.cfg.Authorities(nil)
	const header = 5 // generic payload header and encoding
	switch {
	case !ok || room < header:
		return nil
	case room < header+len(hashes):
		hashes = nil
	}
	return []wire.Payload{wire.CERTREQ{Encoding: wire.CertX509Signature, Authorities: hashes}}
}

// certsAccepted reports whether any connection that the peer may mean takes
// certificates.
func (s *step) certsAccepted() bool {
	for _, c := range s.cfg.PAD.Between(s.local.Addr(), s.remote.Addr()) {
		if c.Remote.Certs.Accept {
			return true
		}
	}
	return false
}

// proved keeps by which certificates the peer has proved itself, and passes on
// what a stricter policy would have refused.
func (s *step) proved(v ike.Verified) {
	s.peerCerts = v.Chain
	s.stranger.proof = ike.Proof{Key: v.Key, Level: v.Level}
	for _, w := range v.Warnings {
		s.note("%s", w)
	}
}

// certified reports whether the peer has proven itself by a certificate.
func (s *SA) certified() bool {
	return len(s.peerCerts) > 0 || s.peerMethod == ike.AuthEAPTLS
}
