// Package whack is the control protocol between the ipsec commands and a
// running pluto: typed requests and streamed replies, one JSON object per line,
// over a Unix socket. Client and Server are its two sides. The package carries
// requests and decides nothing about connections; a Handler does.
//
// A client sends one Request and reads Replies until one is Final; then both
// close. Closing early tells the daemon that nobody waits any more. Client is
// used by one goroutine at a time; Server runs a goroutine per client.
package whack
