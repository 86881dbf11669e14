package interop

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
	"cygnet/internal/whack"
)

// ourPair is two gateways of the manual's picture with one tunnel, which is up,
// and a capture of the wire between them.
type ourPair struct {
	l       *lab.Lab
	gates   map[string]*lab.Gateway
	capture *lab.Capture
}

func newOurPair(t *testing.T, prefix, conns string, up ...string) *ourPair {
	t.Helper()
	p := &ourPair{l: labtest.New(t, prefix), gates: map[string]*lab.Gateway{}}
	if err := lab.BuildManual(p.l, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"west", "east"} {
		g, err := lab.NewGateway(p.l.Host(name), labtest.Binary(t))
		if err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"ipsec.conf": conns, "ipsec.secrets": "101.101.101.101 202.202.202.202 : PSK \"" + psk + "\"\n"} {
			if err := g.Write(file, text); err != nil {
				t.Fatal(err)
			}
		}
		p.gates[name] = g
		p.ipsec(t, name, "setup", "start")
		t.Cleanup(func() { _, _ = g.Ipsec(context.Background(), "setup", "stop") })
	}
	for _, name := range up {
		p.ipsec(t, "west", "auto", "--up", name)
	}
	var err error
	if p.capture, err = p.l.Capture(p.l.Host("nic"), "west", []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fd00::/16")}, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.capture.Close() })
	return p
}

func (p *ourPair) ipsec(t *testing.T, name string, args ...string) string {
	t.Helper()
	r, err := p.gates[name].Ipsec(t.Context(), args...)
	if err != nil || r.Exit != 0 {
		t.Fatalf("%s: ipsec %v: %v\n%s", name, args, err, r.Output())
	}
	return r.Output()
}

func (p *ourPair) counts(t *testing.T) lab.Counts {
	t.Helper()
	c, err := p.capture.Counts()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// raw sends whole IP packets from a host.
func raw(t *testing.T, h *lab.Host, packet []byte) {
	t.Helper()
	if err := h.Do(func() error {
		family, sa := unix.AF_INET, unix.Sockaddr(nil)
		if packet[0]>>4 == 6 {
			family, sa = unix.AF_INET6, &unix.SockaddrInet6{Addr: [16]byte(packet[24:40])}
		} else {
			sa = &unix.SockaddrInet4{Addr: [4]byte(packet[16:20])}
		}
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, packet, 0, sa)
	}); err != nil {
		t.Fatal(err)
	}
}

func packet4(src, dst string, proto byte, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	copy(b[12:], netip.MustParseAddr(src).AsSlice())
	copy(b[16:], netip.MustParseAddr(dst).AsSlice())
	return append(b, payload...)
}

func packet6(src, dst string, next byte, payload []byte) []byte {
	b := make([]byte, 40, 40+len(payload))
	b[0], b[6], b[7] = 0x60, next, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	copy(b[8:], netip.MustParseAddr(src).AsSlice())
	copy(b[24:], netip.MustParseAddr(dst).AsSlice())
	return append(b, payload...)
}

// segment is a transport header of n octets, whose first are head, before the
// marker that the capture looks for.
func segment(n int, head ...byte) []byte {
	b := make([]byte, n)
	copy(b, head)
	return append(b, lab.Marker...)
}

// Whatever protocol it is of, a packet that policy protects leaves encrypted or
// not at all: so do those whose routes are looked up in ways of their own.
func TestAdv_ESP_31_EveryProtocol(t *testing.T) {
	const conf = "version 2.0\nconfig setup\n\tinterfaces=%defaultroute\n" +
		"conn gates\n\tleft=101.101.101.101\n\tright=202.202.202.202\n\tauthby=secret\n" +
		"conn all\n\talso=gates\n\tleftsubnet=192.168.100.0/24\n\trightsubnet=0.0.0.0/0\n\tauto=add\n" +
		"conn six\n\talso=gates\n\tleftsubnet=fd00:100::/64\n\trightsubnet=fd00:200::/64\n\tauto=add\n"
	p := newOurPair(t, "kinds", conf, "all", "six")
	west, sunset := p.l.Host("west"), p.l.Host("sunset")
	for host, addr := range map[*lab.Host]string{west: "fd00:100::1/64", sunset: "fd00:100::2/64"} {
		dev := "eth0"
		if host == west {
			dev = "eth1"
		}
		if err := host.AddAddr(dev, netip.MustParsePrefix(addr)); err != nil {
			t.Fatal(err)
		}
	}
	if err := west.Forward(); err != nil {
		t.Fatal(err)
	}
	if err := sunset.AddRoute(netip.MustParsePrefix("fd00:200::/64"), netip.MustParseAddr("fd00:100::1")); err != nil {
		t.Fatal(err)
	}
	const in, out, group = "192.168.100.10", "192.168.200.10", "239.1.2.3"
	ext := func(next byte) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} } // PadN
	udp := segment(8, 0x30, 0x39, 0x12, 0xb5, 0, 24)
	for _, x := range []struct {
		name   string
		from   *lab.Host
		packet []byte
	}{
		{"TCP", sunset, packet4(in, out, 6, segment(20, 0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2))},
		{"UDP", sunset, packet4(in, out, 17, udp)},
		{"ICMP", sunset, packet4(in, out, 1, segment(8, 8))},
		{"SCTP", sunset, packet4(in, out, 132, segment(12, 0x30, 0x39, 0, 80))},
		{"GRE", sunset, packet4(in, out, 47, append([]byte{0, 0, 8, 0}, packet4("10.1.1.1", "10.2.2.2", 17, udp)...))},
		{"VXLAN", sunset, packet4(in, out, 17, segment(8+8+14, 0x30, 0x39, 0x12, 0xb5, 0, 46, 0, 0, 8))},
		{"GENEVE", sunset, packet4(in, out, 17, segment(8+8, 0x30, 0x39, 0x17, 0xc1, 0, 32, 0, 0, 0, 0, 0x65, 0x58))},
		{"a protocol without a name", sunset, packet4(in, out, 253, segment(4))},
		{"IPv6 without more", sunset, packet6("fd00:100::2", "fd00:200::2", 17, udp)},
		{"IPv6, destination options", sunset, packet6("fd00:100::2", "fd00:200::2", 60, append(ext(17), udp...))},
		{"IPv6, hop-by-hop options", sunset, packet6("fd00:100::2", "fd00:200::2", 0, append(ext(17), udp...))},
		{"IPv6, a fragment", sunset, packet6("fd00:100::2", "fd00:200::2", 44, append([]byte{17, 0, 0, 1, 0, 0, 0, 9}, udp...))},
		{"IPv6, ESP that is nobody's", sunset, packet6("fd00:100::2", "fd00:200::2", 50, segment(16, 0, 0, 0x30, 0x39))},
		{"multicast", west, packet4("192.168.100.1", group, 17, udp)},
		{"broadcast of the far net", sunset, packet4(in, "192.168.200.255", 17, udp)},
	} {
		before := p.counts(t)
		raw(t, x.from, x.packet)
		var d lab.Counts
		for range 40 {
			if d = p.counts(t).Sub(before); d.Protected()+d.Foreign() > 0 {
				break
			}
			time.Sleep(25 * time.Millisecond)
		}
		if d.Foreign() != 0 {
			t.Errorf("%s: on the wire in the clear: %+v\n%v", x.name, d, p.capture.Suspects())
		}
		if d.Protected() == 0 {
			t.Errorf("%s: did not leave at all", x.name)
		}
	}
	if all := p.counts(t); all.Foreign() != 0 {
		t.Errorf("in all: %+v\n%v", all, p.capture.Suspects())
	}
	before := p.counts(t)
	if err := sunset.Do(func() error { return segments(out) }); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	if d := p.counts(t).Sub(before); d.Foreign() != 0 || d.Bytes[lab.ESPinUDP] < 42*1300 {
		t.Errorf("segments of one send: %+v", d)
	}
}

// segments sends 42 datagrams in one call, which the kernel takes apart as late as
// it can (UDP_SEGMENT).
func segments(to string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const size = 1300
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, size); err != nil {
		return fmt.Errorf("UDP_SEGMENT: %w", err)
	}
	return unix.Sendto(fd, segment(42*size-len(lab.Marker)), 0, &unix.SockaddrInet4{Port: 9, Addr: netip.MustParseAddr(to).As4()})
}

// Errors of ICMP that nobody has proved: thousands that say that the peer cannot
// be reached, that packets live too short, and that they are too big. No SA ends,
// nothing is lost, and the path does not become narrower than the floor.
func TestAdv_NET_11_ForgedICMP(t *testing.T) {
	const conf = "version 2.0\nconfig setup\n\tinterfaces=%defaultroute\n" +
		"conn net\n\tleft=101.101.101.101\n\tleftsubnet=192.168.100.0/24\n\tright=202.202.202.202\n\trightsubnet=192.168.200.0/24\n\tauthby=secret\n\tauto=add\n"
	p := newOurPair(t, "icmp", conf, "net")
	spi := func() string {
		for line := range strings.SplitSeq(p.ipsec(t, "west", "spi"), "\n") {
			if id, _, ok := strings.Cut(line, "@202.202.202.202"); ok && strings.HasPrefix(id, "esp0x") {
				return strings.TrimPrefix(id, "esp0x")
			}
		}
		t.Fatal("no SA to the peer")
		return ""
	}
	first := spi()
	n, err := strconv.ParseUint(first, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	quote := func(port uint16, spi uint32) []byte {
		u := binary.BigEndian.AppendUint16(nil, port)
		u = binary.BigEndian.AppendUint16(u, port)
		u = append(u, 0, 100, 0, 0)
		u = binary.BigEndian.AppendUint32(u, spi)
		return packet4("101.101.101.101", "202.202.202.202", 17, append(u, make([]byte, 24)...))
	}
	nic := p.l.Host("nic")
	before := p.ipsec(t, "west", "auto", "--status")
	for range 500 {
		for _, kind := range []struct{ typ, code byte }{{3, 1}, {3, 3}, {3, 10}, {3, 13}, {11, 0}, {11, 1}, {12, 0}, {3, 4}} {
			for _, about := range [][]byte{quote(4500, uint32(n)), quote(4500, 0x77777777), quote(4500, 0), quote(500, 0x12345678)} {
				icmp := append([]byte{kind.typ, kind.code, 0, 0, 0, 0, 0, 68}, about...)
				if kind.typ != 3 || kind.code != 4 {
					icmp[7] = 0
				}
				binary.BigEndian.PutUint16(icmp[2:], checksum(icmp))
				raw(t, nic, packet4("202.202.202.202", "101.101.101.101", 1, icmp))
			}
		}
	}
	for _, size := range []int{56, 1300} {
		res, err := p.l.Host("sunset").Ping(t.Context(), lab.Echo{Dst: lab.Sunrise, Count: 10, Interval: 10 * time.Millisecond, Size: size})
		if err != nil || res.Received != res.Sent {
			t.Errorf("after the storm %d of %d pings of %d octets are answered, %v", res.Received, res.Sent, size, err)
		}
	}
	if now := spi(); now != first {
		t.Errorf("the SA %s has given way to %s", first, now)
	}
	if after := p.ipsec(t, "west", "auto", "--status"); strings.Count(after, "established") != strings.Count(before, "established") {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	var look whack.Look
	if err := json.Unmarshal([]byte(p.ipsec(t, "west", "look", "--json")), &look); err != nil {
		t.Fatal(err)
	}
	// The floor is 576 octets outside; ESP in UDP takes at most 73 of them.
	if len(look.Devices) != 1 || look.Devices[0].EffectiveMTU < 576-73 {
		t.Errorf("devices %+v", look.Devices)
	}
}

// checksum is that of the Internet, RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
