package lab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Octets of a frame that are looked at and kept.
const snapLen = 256

// maxSuspects bounds how many frames are kept for the report.
const maxSuspects = 20

// Capture watches one interface and counts what crosses it, both ways.
type Capture struct {
	Host *Host
	Dev  string

	file  *os.File
	class Classifier
	done  chan struct{}
	flush [8]byte // content of our own flush frames

	mu       sync.Mutex
	counts   Counts
	suspects []Frame
	flushed  uint64
	flushing uint64
	changed  *sync.Cond
	pcap     *pcapWriter
}

// Counts says how much of each Kind crossed an interface. Frames handed over
// by segmentation offload count once however many packets they stand for.
type Counts struct {
	Frames [kinds]uint64
	Bytes  [kinds]uint64
	Lost   uint64 // frames that the capture itself missed
}

// Sub is what happened since earlier.
func (c Counts) Sub(earlier Counts) Counts {
	for k := range c.Frames {
		c.Frames[k] -= earlier.Frames[k]
		c.Bytes[k] -= earlier.Bytes[k]
	}
	c.Lost -= earlier.Lost
	return c
}

// Protected is the number of frames that carry protected traffic.
func (c Counts) Protected() uint64 { return c.Frames[ESP] + c.Frames[ESPinUDP] + c.Frames[AH] }

// Foreign is the number of frames that are neither IKE nor IPsec nor what
// every link carries (ARP, neighbour discovery).
func (c Counts) Foreign() uint64 { return c.Frames[Other] + c.Frames[Clear] }

// Capture starts to watch dev. Frames that bear an address of inside, or the
// Marker, count as Clear. A pcapPath that is not "" gets the frames, cut to
// their first octets.
func (l *Lab) Capture(h *Host, dev string, inside []netip.Prefix, pcapPath string) (*Capture, error) {
	c := &Capture{Host: h, Dev: dev, class: Classifier{Inside: inside}, done: make(chan struct{})}
	c.changed = sync.NewCond(&c.mu)
	binary.BigEndian.PutUint64(c.flush[:], uint64(time.Now().UnixNano()))
	if pcapPath != "" {
		w, err := newPcap(pcapPath)
		if err != nil {
			return nil, err
		}
		c.pcap = w
	}
	err := h.Do(func() (err error) {
		c.file, err = openPacketSocket(dev)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("capture on %s of %s: %w", dev, h.Name, err)
	}
	go c.run()
	l.Defer(c.Close)
	return c, nil
}

// openPacketSocket watches dev in the namespace of the calling thread.
func openPacketSocket(dev string) (*os.File, error) {
	iface, err := net.InterfaceByName(dev)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := setUpPacketSocket(fd, iface.Index); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "capture "+dev), nil
}

func setUpPacketSocket(fd, index int) error {
	const buffer = 64 << 20
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer) // as much as the system allows
	}
	// The filter "ret snapLen" takes every frame and cuts it.
	ret := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: snapLen}}
	prog := unix.SockFprog{Len: 1, Filter: &ret[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return err
	}
	all := uint16(unix.ETH_P_ALL<<8) | uint16(unix.ETH_P_ALL>>8)
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})
}

func (c *Capture) run() {
	defer close(c.done)
	buf := make([]byte, snapLen)
	for {
		n, err := c.file.Read(buf)
		if err != nil {
			if os.IsTimeout(err) || !isClosed(err) {
				continue // such as ENETDOWN when the interface goes down and comes back
			}
			return
		}
		c.take(buf[:n])
	}
}

func (c *Capture) take(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seq, ok := c.isFlush(frame); ok {
		c.flushed = max(c.flushed, seq)
		c.changed.Broadcast()
		return
	}
	f := c.class.Classify(frame)
	c.counts.Frames[f.Kind]++
	c.counts.Bytes[f.Kind] += uint64(max(f.Len, len(frame)-14))
	if (f.Kind == Clear || f.Kind == Other) && len(c.suspects) < maxSuspects {
		c.suspects = append(c.suspects, f)
	}
	if c.pcap != nil {
		c.pcap.frame(frame, max(len(frame), f.Len+14))
	}
}

// Counts waits until everything that crossed the interface before the call has
// been looked at, and returns the counts.
func (c *Capture) Counts() (Counts, error) {
	if err := c.sync(); err != nil {
		return Counts{}, err
	}
	lost, err := c.lost()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Lost += lost
	return c.counts, err
}

// Suspects returns the first frames that were Clear or Other.
func (c *Capture) Suspects() []Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Frame(nil), c.suspects...)
}

// Close stops watching.
func (c *Capture) Close() error {
	err := c.file.Close()
	if err != nil && isClosed(err) {
		return nil // closed before
	}
	<-c.done
	if c.pcap != nil {
		return c.pcap.close()
	}
	return err
}

// The flush frame has an Ethernet type for local experiments (IEEE 802); hosts
// throw it away.
const etherFlush = 0x88b5

func (c *Capture) isFlush(frame []byte) (seq uint64, ok bool) {
	if len(frame) < 30 || binary.BigEndian.Uint16(frame[12:]) != etherFlush {
		return 0, false
	}
	if [8]byte(frame[14:22]) != c.flush {
		return 0, true // another capture's: neither counted nor ours
	}
	return binary.BigEndian.Uint64(frame[22:30]), true
}

// sync sends a frame of our own over the interface and waits until the capture
// has met it: frames are seen in order.
func (c *Capture) sync() error {
	c.mu.Lock()
	c.flushing++
	seq := c.flushing
	c.mu.Unlock()
	frame := make([]byte, 60)
	binary.BigEndian.PutUint16(frame[12:], etherFlush)
	copy(frame[14:], c.flush[:])
	binary.BigEndian.PutUint64(frame[22:], seq)
	if err := c.Host.SendFrame(c.Dev, frame); err != nil {
		return err
	}
	timer := time.AfterFunc(10*time.Second, func() {
		c.mu.Lock()
		c.flushed = max(c.flushed, seq)
		c.counts.Lost++ // the flush frame itself
		c.mu.Unlock()
		c.changed.Broadcast()
	})
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.flushed < seq {
		c.changed.Wait()
	}
	return nil
}

// SendFrame puts an Ethernet frame on the link of dev as it is.
func (h *Host) SendFrame(dev string, frame []byte) error {
	if err := h.Do(func() error { return sendFrame(dev, frame) }); err != nil {
		return fmt.Errorf("send a frame on %s of %s: %w", dev, h.Name, err)
	}
	return nil
}

func sendFrame(dev string, frame []byte) error {
	iface, err := net.InterfaceByName(dev)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: iface.Index, Halen: 6})
}

// lost asks the kernel how many frames found no room; asking resets the count.
func (c *Capture) lost() (uint64, error) {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var lost uint64
	var failed error
	err = raw.Control(func(fd uintptr) {
		stats, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if failed = err; err == nil {
			lost = uint64(stats.Drops)
		}
	})
	if err != nil {
		return 0, err
	}
	return lost, failed
}
