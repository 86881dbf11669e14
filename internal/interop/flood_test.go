package interop

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/lab"
	"cygnet/internal/suite"
)

var floodTime = flag.Duration("flood", 4*time.Second, "how long the flood of TestFlood lasts, at 10,000 messages in a second")

// forgedRequest is an IKE_SA_INIT request as anybody may send it, in an IPv4 and
// UDP frame whose source is still to be filled in.
func forgedRequest(t *testing.T, to netip.Addr) []byte {
	t.Helper()
	proposals, err := suite.ParseIKE("aes128gcm16-prfsha256-x25519,aes256gcm16-prfsha384-ecp384")
	if err != nil {
		t.Fatal(err)
	}
	var offers []suite.Offer
	for i, p := range proposals {
		offers = append(offers, p.Offer(uint8(i+1), nil))
	}
	public := make([]byte, 32)
	public[0] = 9 // the base point
	h := ike.Header{SPIi: 1, Major: ike.Version2, Exchange: ike.SAInit, Flags: ike.FlagInitiator}
	msg := wire.Append(nil, h, wire.SA{Proposals: offers}, wire.KE{Group: proposals[0].KE[0].ID, Data: public}, wire.Nonce{Data: make([]byte, 32)},
		wire.NewNotify(ike.NotifyNATDetectionSource, make([]byte, 20)), wire.NewNotify(ike.NotifyNATDetectionDestination, make([]byte, 20)))
	frame := make([]byte, 28, 28+len(msg))
	frame[0], frame[8], frame[9] = 0x45, 64, unix.IPPROTO_UDP // the kernel fills in lengths and the checksum
	dst := to.As4()
	copy(frame[16:], dst[:])
	binary.BigEndian.PutUint16(frame[20:], 500)
	binary.BigEndian.PutUint16(frame[22:], 500)
	binary.BigEndian.PutUint16(frame[24:], uint16(8+len(msg)))
	return append(frame, msg...)
}

// flood sends forged requests from random addresses until told to stop, and
// returns how many.
func flood(fd int, frame []byte, to netip.Addr, stop <-chan struct{}) int {
	random := rand.New(rand.NewPCG(1, 1))
	sent := 0
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for {
		select {
		case <-stop:
			return sent
		case <-tick.C:
		}
		for due := int(time.Since(start) / (100 * time.Microsecond)); sent < due; sent++ {
			copy(frame[12:], []byte{byte(11 + random.IntN(80)), byte(random.IntN(256)), byte(random.IntN(256)), byte(1 + random.IntN(254))})
			binary.BigEndian.PutUint64(frame[28:], random.Uint64()|1)
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrInet4{Addr: to.As4()}); err != nil && err != unix.ENOBUFS {
				return sent
			}
		}
	}
}

// resident is the memory of a process, in octets.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// residentLimit is how much more memory the daemon may hold after a flood. Most
// of it is what Go's collector leaves for later.
const residentLimit = 32 << 20

// RES-05, RES-06: 10,000 forged IKE_SA_INIT requests come in a second, each from
// another address and good in itself, to a real daemon that serves whoever calls.
// The tunnel that is up keeps its traffic, a legitimate peer connects, and memory
// stays bounded. For the whole half minute: -flood 30s.
func TestFlood(t *testing.T) {
	r := start(t, plan{spoil: func(p *parts) {
		p.conf += "\nconn road\n\tleft=101.101.101.101\n\tleftid=" + westID + "\n\tleftsubnet=192.168.100.0/24\n\tright=%any\n\tauthby=secret\n\tauto=add\n"
		p.secrets += westID + " : PSK \"what nobody on the road can know\"\n"
	}})
	r.initiate(true)
	r.traffic()
	pid := r.west.PlutoPid()
	before := resident(t, pid)
	var fd int
	r.must(r.lab.Host("nic").Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
		return err
	}))
	defer unix.Close(fd)
	to := netip.MustParseAddr("101.101.101.101")
	frame, stop, sent := forgedRequest(t, to), make(chan struct{}), make(chan int, 1)
	go func() { sent <- flood(fd, frame, to, stop) }()
	pings, err := r.lab.Host("sunset").StartPing(lab.Echo{Dst: lab.Sunrise, Interval: 20 * time.Millisecond})
	r.must(err)
	time.Sleep(*floodTime / 2)
	result := pings.Stop()
	// The peer forgets everything and comes anew, in the middle of it.
	r.swanctl("--terminate", "--ike", "net", "--force")
	r.initiate(false)
	pings, err = r.lab.Host("sunrise").StartPing(lab.Echo{Dst: lab.Sunset, Interval: 20 * time.Millisecond})
	r.must(err)
	time.Sleep(*floodTime / 2)
	again := pings.Stop()
	close(stop)
	n := <-sent
	grown := resident(t, pid) - before
	t.Logf("%d forged requests: %d of %d pings answered on the old tunnel, %d of %d on the new; %.1f MiB more in memory", n, result.Received, result.Sent, again.Received, again.Sent, float64(grown)/(1<<20))
	if n < 1000 {
		t.Errorf("only %d were sent: the flood tests nothing", n)
	}
	if result.Received*10 < result.Sent*9 || again.Received*10 < again.Sent*9 {
		t.Errorf("traffic did not go on: %+v, %+v", result, again)
	}
	if grown > residentLimit {
		t.Errorf("the daemon holds %d octets more", grown)
	}
	r.traffic()
	if lines := strings.Count(r.log(), "\n"); lines > n/10 {
		t.Errorf("%d lines of log for %d requests", lines, n)
	}
}
