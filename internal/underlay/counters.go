package underlay

import (
	"sync/atomic"

	"cygnet/internal/ipsec"
)

// counters are the drops of one Underlay.
type counters struct {
	ikeFull, ikeMarker, keepalive, short, truncated, icmp, stream atomic.Uint64
}

func (c *counters) list() []ipsec.Counter {
	return []ipsec.Counter{
		{Reason: "ike_queue_full", Count: c.ikeFull.Load()},
		{Reason: "ike_marker_only", Count: c.ikeMarker.Load()},
		{Reason: "nat_keepalive", Count: c.keepalive.Load()},
		{Reason: "short_datagram", Count: c.short.Load()},
		{Reason: "truncated", Count: c.truncated.Load()},
		{Reason: "icmp_unreachable", Count: c.icmp.Load()},
		{Reason: "tcp_stream", Count: c.stream.Load()},
	}
}
