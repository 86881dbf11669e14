package config

import "cygnet/internal/ike"

// tcp checks what IKE and ESP over TCP, RFC 9329, cannot be combined with:
// there both share one connection, so nothing may have to go by itself.
func (k *checker) tcp() *Problem {
	if !k.negotiates() {
		return nil
	}
	switch {
	case k.TCP == ike.TCPNo:
		if k.given("tcp-remoteport") {
			k.warn("tcp-remoteport", "it has no effect: this connection never goes over TCP", "write enable-tcp=fallback too, or leave it out")
		}
	case k.Version == ike.Version1:
		return k.problem("enable-tcp", "only IKEv2 goes over TCP (RFC 9329)", "leave it out, or write keyexchange=ikev2")
	case k.Phase2 != Phase2ESP:
		return k.problem("enable-tcp", "AH does not go over TCP", "leave it out, or write phase2=esp")
	case k.Encapsulation == ike.No:
		return k.problem("encapsulation", "ESP cannot go by itself where IKE goes over TCP", "leave encapsulation= out, or write enable-tcp=no")
	}
	return nil
}
