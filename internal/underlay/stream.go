package underlay

import (
	"bufio"
	"net"
	"net/netip"
	"sync"
	"time"
)

// stream is one TCP connection, RFC 9329. Messages to it wait in out while it
// is being opened and while the peer is slow; what does not fit is dropped, as
// a full path does, so that one slow peer holds up no other.
type stream struct {
	local, remote netip.AddrPort
	ours          bool // we opened it
	out           chan []byte
	last          chan struct{} // closed when nothing follows in out
	gone          chan struct{} // closed when it is over

	mu    sync.Mutex
	conn  net.Conn // nil while it is being opened
	hung  bool     // last is closed
	ended bool
	sure  bool      // an IKE SA stands on it
	until time.Time // when it ends if nothing comes
}

func newStream(local, remote netip.AddrPort, conn net.Conn) *stream {
	return &stream{local: local, remote: remote, ours: conn == nil, conn: conn,
		out: make(chan []byte, streamQueue), last: make(chan struct{}), gone: make(chan struct{})}
}

func (s *stream) ends() ends { return ends{s.local, s.remote} }

// send queues a message and reports whether there was room.
func (s *stream) send(parts ...[]byte) bool {
	b := frame(parts...)
	if b == nil {
		return false
	}
	select {
	case s.out <- b:
		return true
	default:
		return false
	}
}

// opened gives s its connection; ok is false where s has ended meanwhile.
func (s *stream) opened(c net.Conn) (ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.conn = c
	return true
}

// end closes the connection. Both its goroutines then return.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	close(s.gone)
	if s.conn != nil {
		s.conn.Close()
	}
}

// hangUp ends s when what waits in it has left.
func (s *stream) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sure = false
	if !s.hung {
		s.hung = true
		close(s.last)
	}
}

// confirm says that an IKE SA stands on s, so that only silence ends it.
func (s *stream) confirm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sure, s.until = true, time.Time{}
	s.wait()
}

// confirmed reports whether confirm was called.
func (s *stream) confirmed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sure
}

// heard puts off the end of a silent stream. That of a stranger is not put off,
// whatever it sends.
func (s *stream) heard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sure || s.until.IsZero() {
		s.wait()
	}
}

// wait sets the deadline, but not with each packet.
func (s *stream) wait() {
	limit := strangerTime
	if s.sure {
		limit = streamIdle
	}
	if t := time.Now().Add(limit); s.conn != nil && t.After(s.until.Add(limit/8)) {
		s.until = t
		s.conn.SetReadDeadline(t)
	}
}

// write writes what is queued until s ends. Messages that wait together leave
// together.
func (s *stream) write() {
	defer s.end()
	w := bufio.NewWriterSize(timely{s.conn}, writeBuffer)
	if s.ours {
		w.WriteString(streamPrefix) // a bufio.Writer keeps its error for Flush
	}
	last := s.last
	for {
		if len(s.out) == 0 {
			if w.Flush() != nil || last == nil {
				return
			}
		}
		select {
		case <-s.gone:
			return
		case <-last:
			last = nil // now until out is empty
		case b := <-s.out:
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}
}

// timely gives each write to a connection its time.
type timely struct{ conn net.Conn }

func (t timely) Write(b []byte) (int, error) {
	if err := t.conn.SetWriteDeadline(time.Now().Add(streamWriteTime)); err != nil {
		return 0, err
	}
	return t.conn.Write(b)
}

// read calls take with each message until s ends.
func (s *stream) read(take func([]byte)) {
	defer s.end()
	r := bufio.NewReaderSize(s.conn, readBuffer)
	s.heard()
	if !s.ours && readPrefix(r) != nil {
		return
	}
	f := frames{r: r}
	for {
		msg, err := f.next()
		if err != nil {
			return
		}
		s.heard()
		take(msg)
	}
}
