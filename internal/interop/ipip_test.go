package interop

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
)

// protoIPIP is IP in IP (RFC 2003), what a device of `ip tunnel mode ipip` sends.
const protoIPIP = 4

// ipipSocket is a raw socket for that protocol on a host: one end of such a
// device, as far as anybody outside the kernel can tell.
func ipipSocket(t *testing.T, h *lab.Host) int {
	t.Helper()
	fd := -1
	if err := h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, protoIPIP)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	wait := unix.NsecToTimeval((3 * time.Second).Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		t.Fatal(err)
	}
	return fd
}

// R20.6: an IP-in-IP device beside us, between the same two gateways, goes on
// undisturbed: its packets, whatever is inside them, leave and arrive as they
// are, in the clear, while our tunnel between the nets is up. Only a connection
// that covers the gateways themselves covers such packets too; those are then
// inside ESP on the wire, and still arrive.
func TestForeignIPIPIsLeftAlone(t *testing.T) {
	l := labtest.New(t, "ipip")
	if err := lab.BuildManual(l, nil); err != nil {
		t.Fatal(err)
	}
	conf := "version 2.0\nconfig setup\n\tinterfaces=%defaultroute\n" +
		"conn gates\n\tleft=101.101.101.101\n\tright=202.202.202.202\n\tauthby=secret\n\tauto=add\n" +
		"conn nets\n\talso=gates\n\tleftsubnet=192.168.100.0/24\n\trightsubnet=192.168.200.0/24\n"
	gates := map[string]*lab.Gateway{}
	for _, name := range []string{"west", "east"} {
		g, err := lab.NewGateway(l.Host(name), labtest.Binary(t))
		if err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"ipsec.conf": conf, "ipsec.secrets": "101.101.101.101 202.202.202.202 : PSK \"" + psk + "\"\n"} {
			if err := g.Write(file, text); err != nil {
				t.Fatal(err)
			}
		}
		gates[name] = g
	}
	ipsec := func(name string, args ...string) {
		t.Helper()
		if r, err := gates[name].Ipsec(t.Context(), args...); err != nil || r.Exit != 0 {
			t.Fatalf("%s: ipsec %v: %v\n%s", name, args, err, r.Output())
		}
	}
	capture, err := l.Capture(l.Host("nic"), "west", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer capture.Close()
	west, east := ipipSocket(t, l.Host("west")), ipipSocket(t, l.Host("east"))
	passes := func(what string, from, to int, src, dst string) {
		t.Helper()
		inner := append([]byte{0x45, 0, 0, 60, 0, 0, 0, 0, 64, 253, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2}, []byte("forty octets in a packet that is nobody's")[:40]...)
		a := unix.SockaddrInet4{Addr: netip.MustParseAddr(dst).As4()}
		if err := unix.Sendto(from, inner, 0, &a); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		b := make([]byte, 2048)
		n, _, err := unix.Recvfrom(to, b, 0)
		if err != nil {
			t.Fatalf("%s: nothing arrived from %s at %s: %v", what, src, dst, err)
		}
		if n != 20+len(inner) || !bytes.Equal(b[20:n], inner) || netip.AddrFrom4([4]byte(b[12:16])).String() != src {
			t.Errorf("%s: arrived changed: %x", what, b[:n])
		}
	}
	both := func(what string) (plain uint64) {
		t.Helper()
		before, err := capture.Counts()
		if err != nil {
			t.Fatal(err)
		}
		passes(what, west, east, "101.101.101.101", "202.202.202.202")
		passes(what, east, west, "202.202.202.202", "101.101.101.101")
		after, err := capture.Counts()
		if err != nil {
			t.Fatal(err)
		}
		return after.Sub(before).Foreign()
	}
	if n := both("before IPsec"); n != 2 {
		t.Errorf("before IPsec %d foreign packets crossed, not 2", n)
	}
	ipsec("west", "setup", "start")
	ipsec("east", "setup", "start")
	ipsec("west", "auto", "--up", "nets")
	if n := both("beside a tunnel between the nets"); n != 2 {
		t.Errorf("beside a tunnel %d foreign packets crossed, not 2", n)
	}
	ipsec("west", "auto", "--up", "gates")
	if n := both("inside a tunnel between the gateways"); n != 0 {
		t.Errorf("inside a tunnel %d packets crossed in the clear", n)
	}
}
