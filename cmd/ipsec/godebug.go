// EAP-TLS over TLS 1.2 derives its key from the session (RFC 5216, 2.3), and
// strongSwan and older Windows lack the extended master secret without which
// crypto/tls refuses that. What the refusal guards against, somebody in the
// middle who makes two sessions of equal keys, is met otherwise: keys.Ring
// checks that the other end's certificate names it, and AUTH ties the key to
// this very IKE SA.

//go:debug tlsunsafeekm=1
package main
