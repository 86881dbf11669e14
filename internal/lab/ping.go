package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Echo says what echo requests to send.
type Echo struct {
	Src      netip.Addr // zero: as routing has it
	Dst      netip.Addr
	Count    int           // 0: until Stop
	Interval time.Duration // 0: 100 ms
	Size     int           // octets of data, at least 24; 0: 56
	Wait     time.Duration // for late answers after the last request; 0: 1 s
}

// Pinger sends echo requests from one host at a steady pace and counts the
// answers.
type Pinger struct {
	Echo

	conn *icmp.PacketConn
	id   int
	stop chan struct{}
	done chan struct{}

	mu     sync.Mutex
	result PingResult
	at     map[uint16]time.Time
}

// PingResult is what became of the echo requests.
type PingResult struct {
	Sent, Received int
	Duplicates     int
	Unsent         int // requests that the kernel refused to send (no route, or not permitted)
	Min, Max, sum  time.Duration
	LongestGap     int // most requests lost in a row
	Foreign        int // answers whose data was not what was sent
	run            int
}

// Mean is the average round trip.
func (r PingResult) Mean() time.Duration {
	if r.Received == 0 {
		return 0
	}
	return r.sum / time.Duration(r.Received)
}

// Lost is how many requests were not answered.
func (r PingResult) Lost() int { return r.Sent - r.Received }

// Ping sends e.Count requests (at least one) from h and waits for the answers.
func (h *Host) Ping(ctx context.Context, e Echo) (PingResult, error) {
	e.Count = max(e.Count, 1)
	p, err := h.StartPing(e)
	if err != nil {
		return PingResult{}, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	return p.Stop(), ctx.Err()
}

// StartPing starts to send echo requests from h and returns at once.
func (h *Host) StartPing(e Echo) (*Pinger, error) {
	p := &Pinger{Echo: e}
	network, any := "ip4:icmp", "0.0.0.0"
	if p.Dst.Is6() {
		network, any = "ip6:ipv6-icmp", "::"
	}
	if p.Src.IsValid() {
		any = p.Src.String()
	}
	err := h.Do(func() (err error) {
		p.conn, err = icmp.ListenPacket(network, any)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ping from %s: %w", h.Name, err)
	}
	p.id = rand.IntN(0x10000)
	p.at = map[uint16]time.Time{}
	p.stop, p.done = make(chan struct{}), make(chan struct{})
	if p.Interval == 0 {
		p.Interval = 100 * time.Millisecond
	}
	if p.Wait == 0 {
		p.Wait = time.Second
	}
	go p.send()
	go p.receive()
	return p, nil
}

// Stop ends a pinger that was started and returns the result. Requests that
// are still under way get p.Wait to be answered.
func (p *Pinger) Stop() PingResult {
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	<-p.done
	p.conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.result
}

// Result is how it stands now; the newest requests may still be under way.
func (p *Pinger) Result() PingResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.result
}

func (p *Pinger) send() {
	defer close(p.done)
	tick := time.NewTicker(p.Interval)
	defer tick.Stop()
	for seq := 0; p.Count == 0 || seq < p.Count; seq++ {
		p.request(uint16(seq))
		if seq+1 == p.Count {
			break
		}
		select {
		case <-tick.C:
			continue
		case <-p.stop:
		}
		break
	}
	p.drain()
}

// drain waits until every request is answered, at most p.Wait.
func (p *Pinger) drain() {
	end := time.Now().Add(p.Wait)
	for time.Now().Before(end) {
		p.mu.Lock()
		open := len(p.at)
		p.mu.Unlock()
		if open == 0 {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (p *Pinger) request(seq uint16) {
	typ := icmp.Type(ipv4.ICMPTypeEcho)
	if p.Dst.Is6() {
		typ = ipv6.ICMPTypeEchoRequest
	}
	m := icmp.Message{Type: typ, Body: &icmp.Echo{ID: p.id, Seq: int(seq), Data: p.data(seq)}}
	b, err := m.Marshal(nil) // the kernel fills in the checksum of ICMPv6
	if err != nil {
		return
	}
	p.mu.Lock()
	p.result.Sent++
	p.at[seq] = time.Now()
	p.result.run++
	p.result.LongestGap = max(p.result.LongestGap, p.result.run-1)
	p.mu.Unlock()
	if _, err := p.conn.WriteTo(b, &net.IPAddr{IP: p.Dst.AsSlice()}); err != nil {
		p.mu.Lock()
		p.result.Unsent++
		p.mu.Unlock()
	}
}

// data is recognisable on a wire that shows it, and different in each request.
func (p *Pinger) data(seq uint16) []byte {
	size := p.Size
	if size == 0 {
		size = 56
	}
	b := append(make([]byte, 0, max(size, 24)), Marker...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.id)<<16|uint64(seq))
	for len(b) < size {
		b = append(b, byte(len(b)))
	}
	return b
}

func (p *Pinger) receive() {
	buf := make([]byte, 65536)
	for {
		n, from, err := p.conn.ReadFrom(buf)
		if err != nil {
			if isClosed(err) {
				return
			}
			continue // such as "network is unreachable" passed on by the kernel
		}
		proto := 1
		if p.Dst.Is6() {
			proto = 58
		}
		m, err := icmp.ParseMessage(proto, buf[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply && m.Type != ipv6.ICMPTypeEchoReply {
			continue
		}
		if e, ok := m.Body.(*icmp.Echo); ok && e.ID == p.id && sameAddr(from, p.Dst) {
			p.answer(e)
		}
	}
}

func (p *Pinger) answer(e *icmp.Echo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seq := uint16(e.Seq)
	sent, open := p.at[seq]
	if !open {
		p.result.Duplicates++
		return
	}
	delete(p.at, seq)
	if string(e.Data) != string(p.data(seq)) {
		p.result.Foreign++
		return
	}
	rtt := time.Since(sent)
	r := &p.result
	r.Received++
	r.run = 0
	r.sum += rtt
	r.Max = max(r.Max, rtt)
	if r.Min == 0 || rtt < r.Min {
		r.Min = rtt
	}
}

func sameAddr(a net.Addr, b netip.Addr) bool {
	ip, ok := a.(*net.IPAddr)
	if !ok {
		return false
	}
	addr, ok := netip.AddrFromSlice(ip.IP)
	return ok && addr.Unmap() == b
}
