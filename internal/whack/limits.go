package whack

import "time"

// Limits of the protocol. A client is root, the daemon's own user or one who may
// look, but its mistakes shall not hurt IKE (adversary.md CTL-03).
const (
	maxRequest   = 64 << 10         // octets of a request line
	maxReply     = 64 << 20         // octets of a reply line: status of 100,000 connections as JSON
	maxClients   = 256              // connections at a time; more are closed at once
	maxReaders   = 64               // of them, those who may only look: the others are for root
	refusedTime  = time.Second      // for what a stranger has sent already
	requestTime  = 10 * time.Second // to send the request
	writeTime    = 30 * time.Second // to take one reply
	maxName      = 512              // octets of a connection's name
	maxDebugList = 64
)
