// Package pki judges certificates for IKE, by RFC 4945 and RFC 5280: whether a
// chain that a peer sent leads to a CA of ours, is meant for what it is used for,
// names the identity that the peer claims, and is not revoked. It also chooses
// which certificates of ours to send, and holds their private keys.
//
// It is pure: the time is handed in, files come through config.FS, and nothing
// is ever fetched here. What could be fetched is said by a Path, and a Path
// exists only for certificates that already chain to a CA of ours. A Store never
// changes once made, so any goroutine may use it; keys.Ring is its caller.
package pki
