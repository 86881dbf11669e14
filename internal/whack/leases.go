package whack

import (
	"fmt"
	"net/netip"
	"time"
)

// Leases is who has which address of our pools, for `ipsec leases`.
type Leases struct {
	Schema int     `json:"schema"`
	Pools  []Pool  `json:"pools"`
	Leases []Lease `json:"leases"`
}

// Pool is one range of a connection's addresspool=.
type Pool struct {
	Conn  string `json:"connection"`
	Range string `json:"range"`
	Size  uint64 `json:"size"` // addresses, at most 2^64-1
	Used  int    `json:"used"`
	Kept  int    `json:"kept"` // for peers that are away
}

// Lease is one address that a peer has or had.
type Lease struct {
	Addr  netip.Addr `json:"address"`
	Owner string     `json:"owner"` // the peer's identity
	Conn  string     `json:"connection"`
	Used  bool       `json:"used"`  // false: it is kept for the owner
	Since int64      `json:"since"` // Unix seconds
}

// Lines is one line for each range, then one for each lease.
func (l *Leases) Lines() []string {
	var out []string
	for _, p := range l.Pools {
		out = append(out, fmt.Sprintf("%q %s: %d of %d in use, %d kept", p.Conn, p.Range, p.Used, p.Size, p.Kept))
	}
	for _, x := range l.Leases {
		word := "kept for"
		if x.Used {
			word = "in use by"
		}
		out = append(out, fmt.Sprintf("%s %s %s since %s", x.Addr, word, x.Owner, time.Unix(x.Since, 0).UTC().Format("2006-01-02 15:04:05")))
	}
	return out
}
