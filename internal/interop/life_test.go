package interop

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"cygnet/internal/lab"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// steady keeps both networks pinging each other and, when it is called, checks
// that not one packet was lost meanwhile.
func (r *rig) steady() (check func()) { return r.steadyBut(0) }

// steadyBut is steady where as many packets of each direction may be lost.
func (r *rig) steadyBut(lost int) (check func()) {
	r.t.Helper()
	var pingers []*lab.Pinger
	for _, way := range []struct {
		from string
		to   netip.Addr
	}{{"sunset", lab.Sunrise}, {"sunrise", lab.Sunset}} {
		p, err := r.lab.Host(way.from).StartPing(lab.Echo{Dst: way.to, Interval: 5 * time.Millisecond})
		r.must(err)
		pingers = append(pingers, p)
	}
	return func() {
		r.t.Helper()
		for _, p := range pingers {
			if res := p.Stop(); res.Lost() > lost || res.Sent < 10 {
				r.t.Errorf("to %s: %d of %d lost, %d in a row", p.Dst, res.Lost(), res.Sent, res.LongestGap)
			}
		}
	}
}

// spis is what charon lists as its Child SA's or IKE SA's SPIs.
func (r *rig) spis(child bool) string {
	var found []string
	for line := range strings.Lines(r.swanctl("--list-sas")) {
		line = strings.TrimSpace(line)
		switch {
		case child && (strings.HasPrefix(line, "in ") || strings.HasPrefix(line, "out ")):
			found = append(found, strings.Fields(line)[1])
		case !child && strings.Contains(line, "ESTABLISHED"):
			found = append(found, strings.Fields(strings.SplitN(line, "IKEv2,", 2)[1])[0])
		}
	}
	return strings.Join(found, " ")
}

// withPFS is an esp= line with a group. Our pfs= is yes unless a connection says
// otherwise, strongSwan's proposals have a group only where they name one; the
// first Child SA of an IKE SA comes up all the same, a later one does not.
const withPFS = "aes128gcm16-x25519"

// Each side renews the Child SA on command; nobody notices.
func TestChildRekey(t *testing.T) {
	for _, pfs := range []struct{ conn, group string }{{"pfs=no", ""}, {"pfs=yes", "-x25519"}} {
		t.Run(pfs.conn, func(t *testing.T) {
			r := start(t, plan{ike: "aes128gcm16-prfsha256-x25519", esp: "aes128gcm16" + pfs.group, conn: pfs.conn})
			r.initiate(true)
			check := r.steady()
			for _, byUs := range []bool{true, false, true, false} {
				r.rekeyed(true, func() {
					if byUs {
						r.ipsec(0, "whack", "--rekey", "--name", "net")
					} else {
						r.swanctl("--rekey", "--child", "net")
					}
				})
			}
			time.Sleep(300 * time.Millisecond) // traffic on the last SA
			check()
			r.secret()
		})
	}
}

// rekeyed runs f and waits until charon's SPIs have changed and only one pair
// is left.
func (r *rig) rekeyed(child bool, f func()) {
	r.t.Helper()
	old := r.spis(child)
	f()
	r.within(20*time.Second, "rekey", func() bool {
		now := r.spis(child)
		ikes, children := r.charonSAs()
		return now != old && ikes == 1 && children == 1
	})
}

// charon renews the IKE SA; the Child SA lives on and can itself be renewed
// under the new one.
func TestIKERekeyByCharon(t *testing.T) {
	r := start(t, plan{esp: withPFS})
	r.initiate(true)
	check := r.steady()
	for range 2 {
		r.rekeyed(false, func() { r.swanctl("--rekey", "--ike", "net") })
	}
	r.rekeyed(true, func() { r.ipsec(0, "whack", "--rekey", "--name", "net") })
	check()
	r.secret()
}

// Our lifetimes run out: both kinds of SA are renewed in time, again and
// again, without a lost packet.
// R4.7.
func TestRekeyByLifetime(t *testing.T) {
	r := start(t, plan{esp: withPFS, conn: "ikelifetime=14s keylife=9s rekeymargin=5s rekeyfuzz=0%"})
	r.initiate(true)
	check := r.steady()
	ikes, children := map[string]bool{}, map[string]bool{}
	end := time.Now().Add(25 * time.Second)
	for time.Now().Before(end) {
		ikes[r.spis(false)] = true
		children[r.spis(true)] = true
		time.Sleep(200 * time.Millisecond)
	}
	check()
	if len(ikes) < 3 || len(children) < 5 {
		t.Errorf("%d IKE SAs and %d Child SAs seen in 25 s", len(ikes), len(children))
	}
	r.secret()
}

// What we take down is down on the other side as well, and traffic neither
// leaks nor brings it back.
func TestDelete(t *testing.T) {
	r := start(t, plan{})
	r.initiate(true)
	r.traffic()
	r.ipsec(0, "auto", "--down", "net")
	r.within(10*time.Second, "SAs of charon gone", func() bool {
		ikes, children := r.charonSAs()
		return ikes == 0 && children == 0
	})
	res, err := r.lab.Host("sunset").Ping(t.Context(), lab.Echo{Dst: lab.Sunrise, Count: 3, Wait: 300 * time.Millisecond})
	r.must(err)
	if res.Received != 0 {
		t.Errorf("pings answered through a tunnel that is down: %+v", res)
	}
	r.secret()
	r.initiate(true)
	r.traffic()
}

// What the peer takes down, though we want it up, is a trap on our side: the
// next packet brings it back, and none leaks.
func TestDeleteByCharon(t *testing.T) {
	for _, what := range []string{"--ike", "--child"} {
		t.Run(what, func(t *testing.T) {
			r := start(t, plan{esp: withPFS})
			r.initiate(true)
			r.traffic()
			r.swanctl("--terminate", what, "net")
			r.within(10*time.Second, "Child SAs of charon gone", func() bool {
				_, children := r.charonSAs()
				return children == 0
			})
			// The packet that brings it back goes alone: of several a hold keeps two.
			res, err := r.lab.Host("sunset").Ping(t.Context(), lab.Echo{Dst: lab.Sunrise, Wait: 10 * time.Second})
			r.must(err)
			if res.Received != 1 {
				t.Errorf("the first packet: %+v", res)
			}
			r.traffic()
		})
	}
}

// The peer vanishes: liveness checks find out, the SAs go, and when it is back
// a new tunnel comes up.
func TestLiveness(t *testing.T) {
	r := start(t, plan{
		conn:   "dpddelay=1s dpdaction=hold retransmit-timeout=6s",
		charon: "dpd_delay = 1s",
	})
	r.initiate(true)
	r.traffic()
	r.must(r.lab.Host("nic").Down("east"))
	r.within(40*time.Second, "west notices", func() bool {
		return !strings.Contains(r.ipsec(0, "auto", "--status"), "SA established")
	})
	r.within(40*time.Second, "charon notices", func() bool {
		ikes, _ := r.charonSAs()
		return ikes == 0
	})
	r.must(r.lab.Host("nic").Up("east"))
	r.initiate(true)
	r.traffic()
	r.secret()
}
