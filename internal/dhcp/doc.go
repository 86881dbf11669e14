// Package dhcp gets a host's address inside by DHCP through a tunnel, RFC 3456:
// the client's side of the exchange, and the gateway's, which relays between
// tunnels and the servers of its network (RFC 2131 with a relay agent). The
// messages are a library's. What a message means is decided without I/O, by
// Session and Pending; Obtain and Relay are the sockets around them.
package dhcp
