package uml

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cygnet/internal/dnslab"
	"cygnet/internal/lab"
)

// nic is where both ask the DNS, beside the two that are strangers: what they
// say to each other is encrypted, and the DNS is asked before that.
const nic = "192.0.2.53"

// strangers are the addresses of both. Unbound, by which libreswan asks, answers by
// itself about the reverse names of private nets and of those for documentation.
var strangers = pair("101.101.101.1", "101.101.101.2")

// libreswanGroup is its usual one: packets wait for the attempt, and go in the
// clear where it fails.
const libreswanGroup = `config setup
	dnssec-enable=yes
	dnssec-rootkey-file=/etc/lab.key

conn private-or-clear
	type=tunnel
	left=%defaultroute
	right=%opportunisticgroup
	negotiationshunt=hold
	failureshunt=passthrough
	keyingtries=1
	retransmit-timeout=2s
	ikev2=insist
	auto=ondemand
`

// Who libreswan's group says that it is, and whom it believes.
const (
	libreswanNull   = "\tauthby=null\n\tleftid=%null\n\trightid=%null\n"
	libreswanServer = "\tleftauth=rsasig\n\tleftckaid=%s\n\tleftid=%s\n\trightauth=null\n\trightid=%%null\n"
)

// TestOpportunisticWithLibreswan: our gateway and libreswan, which know nothing of
// each other but the group that the other's address is in, encrypt: anonymously
// on both sides (RFC 7619), begun by either, and with libreswan proven to us by the
// IPSECKEY record at its reverse name, checked with DNSSEC.
//
// That libreswan learns our key so (rightrsasigkey=%dnsondemand) cannot be shown
// with 4.10: it sends IKE_AUTH without waiting for the DNS, and refuses our answer
// ("no certificate matched RSASSA-PSS with SHA2_256") when that is quicker. Here
// it came after 90 ms, the validated record after 102 ms ("the state is gone; IKEv2
// DNS query ... returned NOERROR").
func TestOpportunisticWithLibreswan(t *testing.T) {
	r := newLibreswanRig(t)
	r.must(r.host.AddAddr("tap0", netip.PrefixFrom(strangers[0], 24)))
	r.must(r.host.RemoveAddr("tap0", netip.PrefixFrom(ip4.outer[0], ip4.bits)))
	r.east.guest.do(t, r.ctx, fmt.Sprintf("ip addr flush dev vec0; ip addr add %s/24 dev vec0; ip route add default via %s", strangers[1], strangers[0]))
	r.must(r.host.AddAddr("lo", netip.MustParsePrefix(nic+"/32")))
	for _, c := range []struct {
		name, zone string
		unsigned   bool
		libreswan  string
		byUs       bool
		level      string // of libreswan, as we see it
	}{
		{"null/byUs=false", "", true, libreswanNull, false, "anon"},
		{"null/byUs=true", "", true, libreswanNull, true, "anon"},
		{"their-key/byUs=true", "2 " + r.east.key.record, false, fmt.Sprintf(libreswanServer, r.east.key.ckaid, strangers[1]), true, "secure"},
	} {
		r.on(c.name, func() {
			anchor := r.dns(dnslab.Zone{Name: "101.101.101.in-addr.arpa.", Text: c.zone + "\n", Unsigned: c.unsigned})
			r.east.start(map[string]string{
				"ipsec.conf":                        libreswanGroup + c.libreswan,
				"ipsec.d/policies/private-or-clear": strangers[0].String() + "/32\n",
				"resolv.conf":                       "nameserver " + nic + "\n",
				"lab.key":                           anchor,
			})
			r.east.await("loading group")
			r.await("libreswan's trap", func() bool { return strings.Contains(r.east.whack("--status"), "private-or-clear#") })
			r.begin(map[string]string{
				"ipsec.conf": fmt.Sprintf("version 2.0\n\nconfig setup\n\tinterfaces=ipsec0=tap0\n\tlogfile=%s\n\tresolver=%s\n\tdnssec=validate\n\toe=yes\n\n"+
					"conn private-or-clear\n\tleft=%s\n\tright=%%opportunisticgroup\n\ttype=tunnel\n\tfailureshunt=passthrough\n\tauto=route\n\toe-try-anon=yes\n\toe-ike-timeout=20s\n\toe-hold-max=30s\n\nconn packetdefault\n\tauto=ignore\n", r.west.Log(), nic, strangers[0]),
				"ipsec.d/dnssec/root.key":           anchor,
				"ipsec.d/policies/private-or-clear": strangers[1].String() + "\n",
			})
			traffic := []func() int{r.theirs(strangers[1], strangers[0]), r.ours(strangers[0], strangers[1])}
			if c.byUs {
				traffic[0], traffic[1] = traffic[1], traffic[0]
			}
			r.encrypted("the first", func() (received int) { // not all that wait for a tunnel are kept
				lab.WaitFor(30*time.Second, func() bool { received = traffic[0](); return received > 0 })
				return received
			}, 1)
			r.encrypted("the other way", traffic[1], 5)
			r.encrypted("the first way again", traffic[0], 5)
			if p := r.ipsec("policy"); !strings.Contains(p, "authentication "+c.level) {
				r.t.Errorf("authentication is not %s\n%s", c.level, p)
			}
		})
	}
}

// dns serves a zone to both, until the subtest ends, and returns what to trust.
func (r *libreswanRig) dns(z dnslab.Zone) string {
	r.t.Helper()
	s, err := dnslab.New([]dnslab.Zone{z}, dnslab.Options{})
	r.must(err)
	r.must(r.host.Do(func() error {
		_, err := s.Listen(nic + ":53")
		return err
	}))
	r.t.Cleanup(s.Close)
	r.must(os.MkdirAll(filepath.Join(r.west.Confs(), "ipsec.d/dnssec"), 0o700))
	return s.Anchor()
}
