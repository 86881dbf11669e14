package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Trace is the history of a World as text for people:
//
//	0.000  west ==> east   IKE_SA_INIT request 0  SA KE Nonce N(COOKIE)
//	0.020  west            "net" #1: IKE SA established with ...
//
// An arrow stands at the time of sending. What became of the datagram is in
// brackets when it was not simply delivered.
type Trace struct {
	world   *World
	lines   []string
	Quiet   bool // keep only the hash, which is then that of the octets themselves
	sum     [32]byte
	watched map[uint64]bool // packets whose arrival is worth a line
}

// watch asks for a line when a packet arrives.
func (t *Trace) watch(number uint64) {
	if t.watched == nil {
		t.watched = map[uint64]bool{}
	}
	t.watched[number] = true
}

// add appends a line about a node. The text is hashed even when it is not kept.
func (t *Trace) add(who, text string) {
	line := strings.TrimRight(fmt.Sprintf("%9.3f  %-14s %s", t.world.Elapsed().Seconds(), who, text), " ")
	t.sign(line, nil)
	if !t.Quiet {
		t.lines = append(t.lines, line)
	}
}

// sign makes something part of the hash.
func (t *Trace) sign(text string, octets []byte) {
	h := sha256.New()
	h.Write(t.sum[:])
	h.Write([]byte(text))
	h.Write(octets)
	h.Sum(t.sum[:0])
}

// Hash identifies the history: equal hashes, equal traces.
func (t *Trace) Hash() string { return hex.EncodeToString(t.sum[:8]) }

// String is the whole trace.
func (t *Trace) String() string {
	if len(t.lines) == 0 {
		return ""
	}
	return strings.Join(t.lines, "\n") + "\n"
}

// datagram records one IKE datagram.
func (t *Trace) datagram(from, to netip.AddrPort, msg []byte, what string, delay time.Duration) {
	if t.Quiet {
		t.sign(fmt.Sprint(t.world.Elapsed(), from, to, what, delay), msg)
		return
	}
	arrow := "-->"
	switch what {
	case "lost", "cut", "too big":
		arrow = "--x"
	case "twice":
		arrow = "=>>"
	case "corrupted":
		arrow = "-~>"
	case "late":
		arrow = "..>"
	}
	if what != "" {
		what = " [" + what + "]"
	}
	if delay >= lateBy {
		what += fmt.Sprintf(" [arrives %.3f]", (t.world.Elapsed() + delay).Seconds())
	}
	who := t.world.nameOf(from.Addr()) + " " + arrow + " " + t.world.nameOf(to.Addr())
	t.add(who, t.world.describe(msg)+what)
}

func (w *World) nameOf(a netip.Addr) string {
	if n := w.byAddr[a]; n != nil {
		return n.Name
	}
	for _, b := range w.nats {
		if b.Outside == a {
			return "nat"
		}
	}
	return a.String()
}
