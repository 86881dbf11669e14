package sim

import (
	"encoding/binary"
	"io"
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// toy is a machine that asks ten questions, each after the answer to the one
// before, and repeats a question until it is answered. Its peer answers.
type toy struct {
	spi           uint64
	local, remote netip.AddrPort
	asks          bool
	next          uint32
	deadline      time.Time
}

const toyQuestions = 10

func (m *toy) Deadline() time.Time                 { return m.deadline }
func (m *toy) Serial() uint32                      { return 1 }
func (m *toy) SPIs() (initiator, responder uint64) { return m.spi, m.spi }
func (m *toy) Initiator() bool                     { return m.asks }
func (m *toy) message(f ike.Flags, id uint32) ike.Send {
	h := ike.Header{SPIi: m.spi, SPIr: m.spi, Major: 2, Exchange: ike.Informational, Flags: f, MessageID: id}
	return ike.Send{Local: m.local, Remote: m.remote, Msg: wire.Append(nil, h, wire.VendorID{Data: []byte("toy")})}
}

func (m *toy) ask(now time.Time, out []ike.Action) []ike.Action {
	if m.next == toyQuestions {
		m.deadline = time.Time{}
		return append(out, ike.Done{})
	}
	m.deadline = now.Add(time.Second)
	return append(out, m.message(ike.FlagInitiator, m.next))
}

func (m *toy) Step(now time.Time, ev ike.Event, out []ike.Action) []ike.Action {
	switch ev := ev.(type) {
	case ike.Initiate, ike.TimeUp:
		return m.ask(now, out)
	case ike.Received:
		h, err := ike.ParseHeader(ev.Msg)
		switch {
		case err != nil:
		case m.asks && h.Response() && h.MessageID == m.next:
			m.next++
			return m.ask(now, out)
		case !m.asks && !h.Response():
			m.next = max(m.next, h.MessageID+1)
			return append(out, m.message(ike.FlagResponse, h.MessageID))
		}
	}
	return out
}

type toyEngine struct {
	node *Node
	rand io.Reader
}

func newToyEngine(n *Node) Engine {
	return &toyEngine{n, n.World().chance.reader("toy", n.Name)}
}

func (e *toyEngine) Initiate(a connection.StartIKE) ike.Machine {
	c := a.Conn
	var b [8]byte
	io.ReadFull(e.rand, b[:])
	return &toy{spi: binary.BigEndian.Uint64(b[:]), asks: true,
		local: netip.AddrPortFrom(c.Local.Addr, 500), remote: netip.AddrPortFrom(c.Remote.Addr, 500)}
}

func (e *toyEngine) Unclaimed(now time.Time, ev ike.Received) (ike.Machine, []ike.Action) {
	h, err := ike.ParseHeader(ev.Msg)
	if err != nil || h.Response() || len(e.node.machines) > 0 {
		return nil, nil
	}
	m := &toy{spi: h.SPIi, local: ev.Local, remote: ev.Remote}
	return m, m.Step(now, ev, nil)
}

func toyRun(seed uint64) *World {
	w := New(seed)
	w.Net.IKE = Faults{Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond, Loss: 0.3, Double: 0.1, Late: 0.1, Corrupt: 0.05}
	west, east := w.Add("west", "192.0.2.1", newToyEngine), w.Add("east", "192.0.2.2", newToyEngine)
	c := &ike.Conn{Name: "toy"}
	c.Local.Addr, c.Remote.Addr = west.Addr, east.Addr
	west.later(func() { west.start(connection.StartIKE{Conn: c}) })
	west.drain()
	w.Run(time.Hour)
	return w
}

func TestSameSeedSameHistory(t *testing.T) {
	hashes := map[string]bool{}
	for seed := range uint64(50) {
		a, b := toyRun(seed), toyRun(seed)
		if a.Trace.Hash() != b.Trace.Hash() || a.Trace.String() != b.Trace.String() || a.Stats != b.Stats {
			t.Fatalf("seed %d: two histories:\n%s\n%s", seed, a.Trace, b.Trace)
		}
		hashes[a.Trace.Hash()] = true
		if len(a.Node("west").machines) != 0 {
			t.Errorf("seed %d: not all questions were answered\n%s", seed, a.Trace)
		}
		if s := a.Stats; s.Sent < 2*toyQuestions {
			t.Errorf("seed %d: %d datagrams", seed, s.Sent)
		}
	}
	if len(hashes) != 50 {
		t.Errorf("50 seeds, %d histories", len(hashes))
	}
}

func TestAllFaultsHappen(t *testing.T) {
	var s Stats
	for seed := range uint64(50) {
		w := toyRun(seed)
		s.Lost += w.Stats.Lost
		s.Doubled += w.Stats.Doubled
		s.Late += w.Stats.Late
		s.Corrupted += w.Stats.Corrupted
		s.Sent += w.Stats.Sent
	}
	if rate := float64(s.Lost) / float64(s.Sent); rate < 0.25 || rate > 0.35 {
		t.Errorf("%.0f %% lost, 30 %% were asked for", rate*100)
	}
	if s.Doubled == 0 || s.Late == 0 || s.Corrupted == 0 {
		t.Errorf("%+v", s)
	}
}

func TestEventsOfOneInstantKeepTheirOrder(t *testing.T) {
	w := New(1)
	var got string
	note := func(s string) func() { return func() { got += s } }
	w.after(time.Second, classTimer, note("5"))
	w.after(time.Second, classDeliver, note("4"))
	w.after(time.Second, classCommand, note("2"))
	w.after(time.Second, classCommand, note("3"))
	w.after(0, classTimer, note("1"))
	w.Run(2 * time.Second)
	if got != "12345" {
		t.Errorf("order %s", got)
	}
	if w.Elapsed() != 2*time.Second {
		t.Errorf("at %v", w.Elapsed())
	}
}

// Taking one decision out leaves the others as they were.
func TestDecisionsAreIndependent(t *testing.T) {
	a, b := newChance(7), newChance(7)
	for range 10 {
		a.draw("loss", "one link")
	}
	for i := range 20 {
		if a.draw("loss", "another") != b.draw("loss", "another") {
			t.Fatalf("draw %d depends on another link", i)
		}
	}
}

func TestCutAndMend(t *testing.T) {
	w := New(3)
	west, east := w.Add("west", "192.0.2.1", newToyEngine), w.Add("east", "192.0.2.2", newToyEngine)
	c := &ike.Conn{Name: "toy"}
	c.Local.Addr, c.Remote.Addr = west.Addr, east.Addr
	w.Net.Cut(east.Addr, west.Addr)
	west.later(func() { west.start(connection.StartIKE{Conn: c}) })
	west.drain()
	w.Run(10 * time.Second)
	if len(west.machines) != 1 || w.Stats.Blocked == 0 {
		t.Fatalf("answers came through a cut\n%s", w.Trace)
	}
	w.Net.Calm()
	w.Run(10 * time.Second)
	if len(west.machines) != 0 {
		t.Fatalf("no answers after mending\n%s", w.Trace)
	}
}
