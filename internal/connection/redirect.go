package connection

import (
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/ike"
)

// A peer may send us on that often in that time, RFC 5685 section 4.
const (
	maxRedirects  = 5
	redirectsTime = 300 * time.Second
)

// redirected begins anew at another gateway: at once while the IKE SA is being
// made, and before the old one goes if it is up.
func (t *Table) redirected(sa *ikeSA, to netip.Addr) {
	c := sa.conn
	c.redirects = slices.DeleteFunc(c.redirects, func(at time.Time) bool { return !at.Add(redirectsTime).After(t.now) })
	often := len(c.redirects) >= maxRedirects
	if !often {
		c.redirects = append(c.redirects, t.now)
	}
	switch {
	case often && sa.up != nil:
		t.log(c.Conn, "the peer sends us on too often: we stay")
	case often:
		t.ikeGone(sa, &ike.Failure{Reason: ike.ReasonOther, Why: "the peer sends us on too often", ByPeer: true})
	case sa.up != nil:
		t.renew(sa, to)
	default:
		n := &ikeSA{conn: c, peer: sa.peer, ours: true, waiting: sa.waiting, reauths: sa.reauths}
		for _, x := range n.waiting {
			x.joined = n
		}
		sa.waiting = nil
		t.forget(sa)
		t.record(n)
		t.settle()
		t.do(StartIKE{Conn: c.Conn, Trigger: c.trigger, Gateway: to})
	}
}
