package interop

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/lab"
)

func sides(t *testing.T, f func(t *testing.T, byUs bool)) {
	t.Run("ours initiates", func(t *testing.T) { f(t, true) })
	t.Run("charon initiates", func(t *testing.T) { f(t, false) })
}

// Every way to prove one's identity, in both roles.
func TestAuthentication(t *testing.T) {
	for _, kind := range []string{"psk", "rsa", "ecdsa", "ed25519"} {
		t.Run(kind, func(t *testing.T) {
			sides(t, func(t *testing.T, byUs bool) {
				r := start(t, plan{kind: kind})
				r.initiate(byUs)
				r.traffic()
			})
		})
	}
}

// Suites that both sides are held to, in both roles.
func TestSuites(t *testing.T) {
	for _, s := range []struct{ ike, esp string }{
		{"aes128gcm16-prfsha256-x25519", "aes128gcm16"},
		{"aes256gcm16-prfsha384-ecp384", "aes256gcm16-ecp384"},
		{"aes128-sha256-modp2048", "aes128-sha256"},
		{"aes256-sha512-ecp521", "aes256-sha512-modp3072"},
		{"aes256-sha384-modp4096", "aes256-sha384"},
		{"chacha20poly1305-prfsha256-ecp256", "chacha20poly1305"},
	} {
		t.Run(s.esp, func(t *testing.T) {
			sides(t, func(t *testing.T, byUs bool) {
				r := start(t, plan{ike: s.ike, esp: s.esp})
				r.initiate(byUs)
				r.traffic()
			})
		})
	}
}

// A responder that wants another group than the initiator guessed says so, and
// the second attempt succeeds.
func TestInvalidKE(t *testing.T) {
	sides(t, func(t *testing.T, byUs bool) {
		p := plan{spoil: func(x *parts) {
			mine, other := "aes128gcm16-prfsha256-x25519-ecp384", "aes128gcm16-prfsha256-ecp384"
			if !byUs {
				mine, other = other, mine
			}
			x.conf = strings.Replace(x.conf, "\tauth", "\tike="+strings.Replace(mine, "x25519-ecp384", "x25519+ecp384", 1)+"\n\tauth", 1)
			x.swanctl = strings.Replace(x.swanctl, "version = 2", "version = 2\n\t\tproposals = "+other, 1)
		}}
		r := start(t, p)
		r.initiate(byUs)
		r.traffic()
		if !strings.Contains(r.east.Log(), "INVAL_KE") {
			t.Error("charon's log has no INVALID_KE_PAYLOAD: the test tests nothing")
		}
	})
}

// With one exchange left half open charon thinks that it is under attack and
// asks for a cookie.
func TestCookie(t *testing.T) {
	r := start(t, plan{
		loss:    &lab.Loss{},
		options: []string{"cookie_threshold = 1", "cookie_threshold_ip = 1"},
	})
	r.bad.Filter(func(frame []byte) bool { return !isAuth(frame) })
	r.ipsec(0, "auto", "--asynchronous", "--up", "net")
	r.within(10*time.Second, "half-open exchange", func() bool { return strings.Contains(r.east.Log(), "IKE_SA_INIT response") })
	r.ipsec(0, "auto", "--down", "net")
	r.bad.Filter(nil)
	r.initiate(true)
	if !strings.Contains(r.east.Log(), "N(COOKIE)") {
		t.Error("charon's log has no COOKIE: the test tests nothing")
	}
	r.traffic()
}

// isAuth tells an IKE_AUTH message in an Ethernet frame.
func isAuth(frame []byte) bool {
	_, h := ikeIn(frame)
	return h.Exchange == ike.Auth
}

// ikeIn returns the sender and the header of an IKE message in an Ethernet frame
// with IPv4 and UDP. For other frames the header is zero.
func ikeIn(frame []byte) (from netip.Addr, h ike.Header) {
	const eth, ip, udp, source = 14, 20, 8, 12
	if len(frame) < eth+ip+udp+4+28 || frame[eth+9] != 17 {
		return netip.Addr{}, ike.Header{}
	}
	from, _ = netip.AddrFromSlice(frame[eth+source : eth+source+4])
	ports, data := frame[eth+ip:], frame[eth+ip+udp:]
	switch src, dst := binary.BigEndian.Uint16(ports), binary.BigEndian.Uint16(ports[2:]); {
	case src == 500 && dst == 500:
	case binary.BigEndian.Uint32(data) == 0: // non-ESP marker
		data = data[4:]
	default:
		return netip.Addr{}, ike.Header{}
	}
	h, err := ike.ParseHeader(data)
	if err != nil {
		return netip.Addr{}, ike.Header{}
	}
	return from, h
}

// The smaller of two offers is what both sides end up with.
func TestNarrowing(t *testing.T) {
	sides(t, func(t *testing.T, byUs bool) {
		r := start(t, plan{conn: "narrowing=yes", spoil: func(x *parts) {
			if byUs { // charon holds less
				x.swanctl = strings.Replace(x.swanctl, "local_ts = 192.168.200.0/24", "local_ts = 192.168.200.0/28", 1)
				return
			}
			x.conf = strings.Replace(x.conf, "rightsubnet=192.168.200.0/24", "rightsubnet=192.168.200.0/28", 1)
		}})
		r.initiate(byUs)
		r.ping("sunset", addr("192.168.200.10"))
		if out := r.swanctl("--list-sas"); !strings.Contains(out, "192.168.200.0/28") {
			t.Errorf("charon has no narrow selector:\n%s", out)
		}
		if out := r.ipsec(0, "eroute"); !strings.Contains(out, "192.168.200.0/28") {
			t.Errorf("no narrow eroute:\n%s", out)
		}
	})
}
