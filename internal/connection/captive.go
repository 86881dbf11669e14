package connection

import (
	"fmt"
	"net/netip"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
)

// A captive portal forges every answer of the DNS until its page has been seen. So
// where it reigns, all names are bogus, and what private-or-clear would pass is
// blocked, the portal's page with it. Only the administrator's word lifts that, and
// for a while only: if it happened by itself, forging the DNS would be a way to
// switch encryption off (opportunistic.md 10.6).

// Captive says that this machine is behind a captive portal, for that long. Zero
// ends it. Bogus answers count as a DNS that does not answer meanwhile, in groups
// that pass what has no tunnel; groups that do not are not affected.
type Captive struct {
	Waiter uint64
	For    time.Duration
}

func (Captive) event() {}

// maxCaptive bounds Captive.For: a page is seen in minutes, and whoever forgets to
// end it must not be without protection for the day.
const maxCaptive = time.Hour

// captivity begins, prolongs or ends it.
func (t *Table) captivity(e Captive) {
	text := "captive: off"
	if e.For > 0 {
		d := min(e.For, maxCaptive)
		t.oe.captive = t.now.Add(d)
		text = fmt.Sprintf("captive: for %s what the DNS forges is passed where a group passes what has no tunnel", d)
		t.log(nil, text)
		t.do(ForgetNames{})
		t.forgetFailures(func(f *flow) bool { return f.failed.kind == CauseBogus })
		t.settle()
	} else {
		t.released()
	}
	if e.Waiter != 0 {
		t.do(Reply{Waiter: e.Waiter, Text: text})
		t.answer(e.Waiter)
	}
}

// released ends it. Everything that has failed meanwhile is looked at anew.
func (t *Table) released() {
	if t.oe.captive.IsZero() {
		return
	}
	t.oe.captive = time.Time{}
	t.log(nil, "captive: over; whatever failed is asked for again")
	t.do(ForgetNames{}) // forged answers among it, for a minute otherwise
	t.forgetFailures(func(*flow) bool { return true })
	for _, all := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		t.oe.lapses.forget(netip.PrefixFrom(all, 0))
	}
	t.settle()
}

// Captive is when it ends; zero if it is not on.
func (t *Table) Captive() time.Time { return t.oe.captive }

// meaning is what the cause of a finding counts as for a group.
func (t *Table) meaning(c oe.Cause, g *Group) oe.Cause {
	if c == oe.CauseBogus && !t.oe.captive.IsZero() && g.Failure == ipsec.Pass {
		return oe.CauseDNS
	}
	return c
}
