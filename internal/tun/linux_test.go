package tun

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inNamespace runs f on a thread of its own in a fresh network namespace. The
// thread, and with it the namespace, ends with f.
func inNamespace(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("not root: this test needs CAP_NET_ADMIN")
		}
		t.Skip("not root: this test needs CAP_NET_ADMIN")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread is thrown away
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		f(t)
	}()
	<-done
}

// configure gives the device 192.0.2.1/24 and brings it up.
func configure(t *testing.T, name string) {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	ifr, _ := unix.NewIfreq(name)
	ifr.SetInet4Addr([]byte{192, 0, 2, 1})
	if err := unix.IoctlIfreq(s, unix.SIOCSIFADDR, ifr); err != nil {
		t.Fatalf("set address: %v", err)
	}
	ifr.SetInet4Addr([]byte{255, 255, 255, 0})
	if err := unix.IoctlIfreq(s, unix.SIOCSIFNETMASK, ifr); err != nil {
		t.Fatalf("set netmask: %v", err)
	}
	ifr.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr); err != nil {
		t.Fatalf("set up: %v", err)
	}
}

func index(name string) int {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	defer unix.Close(s)
	ifr, _ := unix.NewIfreq(name)
	if unix.IoctlIfreq(s, unix.SIOCGIFINDEX, ifr) != nil {
		return 0
	}
	return int(ifr.Uint32())
}

func TestLinuxPersistence(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		d, err := Open(Options{Name: "ipsec7", Queues: 2, Persist: true, MTU: 1400})
		if err != nil {
			t.Fatal(err)
		}
		first := index("ipsec7")
		d.Close()
		if index("ipsec7") != first {
			t.Fatal("the persistent device did not outlive Close")
		}
		d, err = Open(Options{Name: "ipsec7", Queues: 2, Persist: true})
		if err != nil {
			t.Fatalf("attach again: %v", err)
		}
		if mtu, err := d.MTU(); err != nil || mtu != 1400 || index("ipsec7") != first {
			t.Errorf("after attaching again: MTU %d, %v, index %d, was %d", mtu, err, index("ipsec7"), first)
		}
		if err := d.Remove(); err != nil {
			t.Fatal(err)
		}
		if index("ipsec7") != 0 {
			t.Error("the device outlived Remove")
		}
	})
}

func TestLinuxTraffic(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		d, err := Open(Options{Name: "ipsec7"})
		if err != nil {
			t.Fatal(err)
		}
		configure(t, "ipsec7")
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(s)
		if err := unix.Bind(s, &unix.SockaddrInet4{Port: 7000, Addr: [4]byte{192, 0, 2, 1}}); err != nil {
			t.Fatal(err)
		}
		out := send(t, d, s)
		receive(t, d, s, out)

		// A reader that waits is woken by Close. Until then the kernel may
		// send router solicitations of its own.
		woken := make(chan error)
		go func() {
			var err error
			for err == nil {
				_, err = d.Queues()[0].Read(make([]byte, MaxRead), true)
			}
			woken <- err
		}()
		time.Sleep(10 * time.Millisecond)
		d.Close()
		if err := <-woken; !errors.Is(err, os.ErrClosed) {
			t.Errorf("reader woken with %v", err)
		}
	})
}

// send sends a 2500-octet datagram train and returns what the TUN saw of it.
func send(t *testing.T, d *Linux, s int) []byte {
	t.Helper()
	if d.Offloads().UDP {
		if err := unix.SetsockoptInt(s, unix.SOL_UDP, unix.UDP_SEGMENT, 1000); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Sendto(s, make([]byte, 1300), 0, &unix.SockaddrInet4{Port: 7001, Addr: [4]byte{192, 0, 2, 2}}); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, MaxRead)
	for {
		n, err := d.Queues()[0].Read(b, true)
		if err != nil {
			t.Fatal(err)
		}
		p := b[HeaderLen:n]
		if p[0]>>4 != 4 || p[9] != unix.IPPROTO_UDP {
			continue // IPv6 router solicitations and the like
		}
		h := ParseHeader(b)
		if d.Offloads().UDP && (h.GSO != GSOUDP || h.Size != 1000 || len(p) != 20+8+1300) {
			t.Errorf("header %+v, %d octets: no superpacket of 1000", h, len(p))
		}
		return p
	}
}

// receive writes the answer to out as a superpacket of 600, 600 and 100 octets.
func receive(t *testing.T, d *Linux, s int, out []byte) {
	t.Helper()
	if !d.Offloads().UDP {
		t.Skip("kernel without USO")
	}
	unix.SetsockoptInt(s, unix.SOL_UDP, unix.UDP_SEGMENT, 0)
	p := append([]byte(nil), out[:28]...)
	copy(p[12:], []byte{192, 0, 2, 2, 192, 0, 2, 1})
	copy(p[20:], []byte{7001 >> 8, 7001 & 0xff, 7000 >> 8, 7000 & 0xff})
	binary.BigEndian.PutUint16(p[24:], 8+1300)
	binary.BigEndian.PutUint16(p[2:], 28+1300)
	p[10], p[11] = 0, 0
	binary.BigEndian.PutUint16(p[10:], ^sum16(p[:20]))
	pseudo := append(append([]byte(nil), p[12:20]...), 0, 17, p[24], p[25])
	binary.BigEndian.PutUint16(p[26:], sum16(pseudo))
	var h [HeaderLen]byte
	Header{NeedsCsum: true, GSO: GSOUDP, HdrLen: 28, Size: 600, CsumStart: 20, CsumOffset: 6}.Put(h[:])
	if err := d.Queues()[0].Write([][]byte{h[:], p, make([]byte, 600), make([]byte, 700)}); err != nil {
		t.Fatal(err)
	}
	unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2})
	for _, want := range []int{600, 600, 100} {
		n, from, err := unix.Recvfrom(s, make([]byte, 2000), 0)
		if err != nil {
			t.Fatal(err)
		}
		if n != want || !net.IP(from.(*unix.SockaddrInet4).Addr[:]).Equal(net.IPv4(192, 0, 2, 2)) {
			t.Errorf("got %d octets from %v, want %d", n, from, want)
		}
	}
}

func sum16(b []byte) uint16 {
	var s uint32
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	s = s&0xffff + s>>16
	return uint16(s&0xffff + s>>16)
}
