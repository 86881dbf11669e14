package interop

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/lab"
)

// collide has both ends begin a CREATE_CHILD_SA exchange before either has heard
// of the other's: requests arrive when both have begun, and answers when both
// requests have arrived. What is lost until then is sent again.
func (r *rig) collide(ours, theirs func()) {
	r.t.Helper()
	var mu sync.Mutex
	begun, arrived := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	r.bad.Filter(func(frame []byte) bool {
		from, h := ikeIn(frame)
		if h.Exchange != ike.CreateChild {
			return true
		}
		mu.Lock()
		defer mu.Unlock()
		if h.Response() {
			return len(arrived) == 2
		}
		begun[from] = true
		if len(begun) == 2 {
			arrived[from] = true
		}
		return len(begun) == 2
	})
	var wg sync.WaitGroup
	wg.Go(ours)
	wg.Go(theirs)
	wg.Wait()
}

// Both ends renew the Child SA at the same moment (RFC 7296 section 2.8.1).
// Whichever exchange wins, one pair of SAs is left, and no packet is lost.
func TestChildRekeyByBoth(t *testing.T) {
	r := start(t, plan{ike: "aes128gcm16-prfsha256-x25519", esp: "aes128gcm16", conn: "pfs=no", loss: &lab.Loss{}})
	r.initiate(true)
	check := r.steady()
	for range 5 {
		r.rekeyed(true, func() {
			r.collide(func() { r.ipsec(0, "whack", "--rekey", "--name", "net") }, func() { r.swanctl("--rekey", "--child", "net") })
		})
		r.oneOfUs()
	}
	check()
	r.secret()
	r.charonSaid("collision")
}

// oneOfUs waits until our side has one Child SA and one IKE SA, too.
func (r *rig) oneOfUs() {
	r.t.Helper()
	r.within(10*time.Second, "one of our SAs of each kind", func() bool {
		out := r.ipsec(0, "auto", "--status")
		return strings.Count(out, "IPsec SA established") == 1 && strings.Count(out, "IKE SA established") == 1
	})
}

// Both ends renew the IKE SA at the same moment (RFC 7296 section 2.8.2).
func TestIKERekeyByBoth(t *testing.T) {
	r := start(t, plan{esp: withPFS, loss: &lab.Loss{}})
	r.initiate(true)
	check := r.steady()
	for range 5 {
		serial := r.ikeSerial()
		r.rekeyed(false, func() {
			r.collide(func() { r.ipsec(0, "whack", "--rekeystate", serial) }, func() { r.swanctl("--rekey", "--ike", "net") })
		})
		r.oneOfUs()
	}
	check()
	r.secret()
	r.charonSaid("collision")
}

// ikeSerial is the number of our newest IKE SA.
func (r *rig) ikeSerial() string {
	r.t.Helper()
	_, after, ok := strings.Cut(r.ipsec(0, "auto", "--status"), "newest ISAKMP SA: #")
	serial, _, _ := strings.Cut(after, ";")
	if !ok || serial == "0" {
		r.t.Fatal("we have no IKE SA")
	}
	return serial
}

// charon authenticates anew from time to time: a new IKE SA with a new Child SA,
// made before the old ones go. Hardly anybody notices: charon takes the old pair down
// within a millisecond of our answer to its Delete, and a packet that is under way then
// may be lost, one at each change at these intervals. Receiving on the old pair for some
// seconds longer did not help when it was tried; who drops it no capture has shown yet.
func TestReauthenticationByCharon(t *testing.T) {
	const reauths = 3
	for _, order := range []string{"make_before_break = yes", "make_before_break = no"} {
		t.Run(order, func(t *testing.T) {
			r := start(t, plan{options: []string{order}})
			r.initiate(false)
			var check func()
			if order == "make_before_break = yes" {
				check = r.steadyBut(reauths)
			}
			for range reauths {
				r.rekeyed(true, func() { r.swanctl("--rekey", "--ike", "net", "--reauth") })
				r.oneOfUs()
			}
			if check != nil {
				check()
			}
			r.secret()
			r.traffic()
		})
	}
}
