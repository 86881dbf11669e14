package ikev2

import (
	"container/list"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
)

// Gate takes the datagrams that belong to no IKE SA and decides which of them
// may become one. It keeps nothing for a datagram that it turns away, and
// never answers with more than it got: who asks may not be who the source
// address says (trust.md T4, T5).
//
// It is called from the goroutine that owns the machines it makes.
type Gate struct {
	cfg     *Config
	limits  Limits
	cookies cookieJar
	tickets ticketJar
	errors  ike.Bucket
	notes   ike.Bucket
	bySrc   map[netip.Prefix]int // half-open IKE SAs of a source
	byMsg   map[[sha256.Size]byte]*list.Element
	bySA    map[*SA]*list.Element
	order   *list.List                 // of *arrival, oldest first
	failed  map[netip.Addr]*ike.Bucket // who did not prove itself of late
	passed  recent                     // requests whose IKE SA got past IKE_AUTH
}

// arrival is a half-open IKE SA and the message that began it.
type arrival struct {
	sa     *SA
	digest [sha256.Size]byte
	src    netip.Prefix
	until  time.Time
	last   time.Time // beyond which until is not moved
}

// NewGate returns a gate.
func NewGate(cfg *Config, limits Limits) *Gate {
	return &Gate{
		cfg: cfg, limits: limits.withDefaults(), order: list.New(),
		bySrc: make(map[netip.Prefix]int), byMsg: make(map[[sha256.Size]byte]*list.Element),
		bySA: make(map[*SA]*list.Element), failed: make(map[netip.Addr]*ike.Bucket),
		cookies: cookieJar{rand: cfg.Rand}, tickets: ticketJar{rand: cfg.Rand},
	}
}

// HalfOpen is the number of IKE SAs whose peer has not proven itself yet.
func (g *Gate) HalfOpen() int { return g.order.Len() }

// RevokeTickets lets nobody take up a session of before: what peers have proven
// themselves by may not count any more.
func (g *Gate) RevokeTickets() { g.tickets.forget() }

// Receive takes a datagram that belongs to no machine. It returns the machine
// of a new responder, which has already taken the datagram, or nil.
func (g *Gate) Receive(now time.Time, m ike.Received, out []ike.Action) (ike.Machine, []ike.Action) {
	h, err := ike.ParseHeader(m.Msg)
	if err != nil || unfit(m) || h.Response() { // an answer to nothing is never answered (2.21.4)
		return nil, out
	}
	if h.Major > ike.Version2 {
		return nil, g.badVersion(now, h, m, out)
	}
	if h.Major == ike.Version2 && h.Exchange != ike.SAInit && h.Exchange != ike.Resume {
		return nil, g.lostSA(now, h, m, out)
	}
	if h.Major != ike.Version2 || h.MessageID != 0 || h.SPIr != 0 || !h.FromInitiator() {
		return nil, out
	}
	digest := sha256.Sum256(m.Msg)
	if e, ok := g.byMsg[digest]; ok { // the same again: its machine repeats the answer
		return nil, e.Value.(*arrival).sa.Step(now, m, out)
	}
	if g.passed.has(now, digest) {
		return nil, out
	}
	return g.admit(now, inbound{Header: h, msg: m.Msg, local: m.Local, remote: m.Remote, stream: m.Stream}, digest, out)
}

// unfit reports addresses that no honest peer has (adversary.md RES-04).
func unfit(m ike.Received) bool {
	r := m.Remote.Addr()
	return m.Remote.Port() == 0 || !r.IsValid() || r.IsUnspecified() || r.IsMulticast() || m.Remote == m.Local ||
		m.Local.Addr().IsMulticast() || r.Unmap() == broadcast
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// minVersionReply is the length of our answer to a higher major version.
const minVersionReply = ike.HeaderLen + 8

// badVersion answers a request of a higher major version, RFC 7296, 2.5.
func (g *Gate) badVersion(now time.Time, h ike.Header, m ike.Received, out []ike.Action) []ike.Action {
	if len(m.Msg) < minVersionReply {
		return out
	}
	return g.refuse(now, h, m, &ike.NotifyError{Type: ike.NotifyInvalidMajorVersion}, out)
}

// refuse answers with an error, within the limits on errors and never with more
// octets than came.
func (g *Gate) refuse(now time.Time, h ike.Header, m ike.Received, e *ike.NotifyError, out []ike.Action) []ike.Action {
	return g.answer(now, h, m, out, wire.NewNotify(e.Type, e.Data))
}

func (g *Gate) answer(now time.Time, h ike.Header, m ike.Received, out []ike.Action, ps ...wire.Payload) []ike.Action {
	answer := ike.Header{SPIi: h.SPIi, SPIr: h.SPIr, Major: ike.Version2, Exchange: h.Exchange, MessageID: h.MessageID, Flags: ike.FlagResponse}
	if !h.FromInitiator() {
		answer.Flags |= ike.FlagInitiator
	}
	msg := wire.Append(nil, answer, ps...)
	if len(msg) > len(m.Msg) || !g.errors.Take(now, float64(g.limits.Errors), float64(g.limits.Errors)) {
		return out
	}
	return append(out, ike.Send{Local: m.Local, Remote: m.Remote, Msg: msg, Stream: m.Stream})
}

// sourceOf is the network that counts as one source: who owns one address of it
// owns all.
func sourceOf(a netip.AddrPort) netip.Prefix {
	addr, bits := a.Addr().Unmap(), 24
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}

// admit lets an IKE_SA_INIT request in, asks for a cookie first, or turns it
// away.
func (g *Gate) admit(now time.Time, in inbound, digest [sha256.Size]byte, out []ike.Action) (ike.Machine, []ike.Action) {
	g.sweep(now)
	m := ike.Received{Local: in.local, Remote: in.remote, Msg: in.msg, Stream: in.stream}
	src := sourceOf(in.remote)
	mine := g.bySrc[src]
	if b := g.failed[ipsec.HostOf(in.remote.Addr())]; b != nil && !b.Peek(now, authFailures, authForgive) {
		return nil, out
	}
	if g.order.Len() >= g.limits.MaxHalfOpen || mine >= g.limits.MaxPerSource {
		return nil, out
	}
	msg, err := wire.Parse(in.msg)
	if err != nil {
		if ne, ok := errors.AsType[*ike.NotifyError](err); ok {
			return nil, g.refuse(now, in.Header, m, ne, out)
		}
		return nil, out
	}
	in.Payloads = msg.Payloads
	proven := in.stream || g.cookies.good(now, in) // TCP has shown that the address is the sender's (RFC 9329, 6.3)
	if !proven && (g.order.Len() >= g.limits.HalfOpen || mine >= g.limits.PerSource) {
		return nil, g.askCookie(now, in, out)
	}
	if in.Exchange == ike.Resume {
		return g.resume(now, in, digest, src, out)
	}
	conns := g.cfg.PAD.Between(in.local.Addr(), in.remote.Addr())
	if p, ok := g.cfg.PAD.(ike.Strangers); ok && len(conns) == 0 && p.Silent(in.local.Addr(), in.remote.Addr()) {
		return nil, out
	}
	if len(conns) == 0 {
		out = g.note(now, in, out, fmt.Sprintf("initial IKE_SA_INIT message received on %s but no connection has been authorized", in.local))
		return nil, g.refuse(now, in.Header, m, &ike.NotifyError{Type: ike.NotifyNoProposalChosen}, out)
	}
	gr, no := greet(conns, in)
	if no != nil {
		if no.Type != ike.NotifyInvalidKEPayload {
			out = g.noteOf(now, in, out, conns, no.why)
		}
		if no.Type == ike.NotifyInvalidSyntax {
			return nil, out // malformed and in the clear: no answer
		}
		return nil, g.refuse(now, in.Header, m, no.NotifyError, out)
	}
	if len(gr.ke.Data) != gr.chosen.KE.Public {
		return nil, out
	}
	if away, ok := g.redirectAll(in); ok {
		return nil, g.answer(now, in.Header, m, out, away)
	}
	if !proven && answerLen(gr) > len(in.msg) {
		return nil, g.askCookie(now, in, out)
	}
	return g.open(now, gr, digest, src, out)
}

// open makes the machine of a new responder and lets it begin.
func (g *Gate) open(now time.Time, gr *greeting, digest [sha256.Size]byte, src netip.Prefix, out []ike.Action) (ike.Machine, []ike.Action) {
	s := newResponder(g.cfg, gr)
	until := g.enter(s, digest, src, now)
	st := &step{SA: s, now: now, out: out}
	st.answerInit(gr, until)
	return s, st.out
}

// enter counts a half-open IKE SA, and returns until when it may be that.
func (g *Gate) enter(s *SA, digest [sha256.Size]byte, src netip.Prefix, now time.Time) time.Time {
	life := g.limits.HalfOpenLife
	a := &arrival{sa: s, digest: digest, src: src, until: now.Add(life), last: now.Add(halfOpenTurns * life)}
	e := g.order.PushBack(a)
	g.byMsg[digest], g.bySA[s] = e, e
	g.bySrc[src]++
	s.gate = g
	return a.until
}

// goesOn gives a half-open IKE SA more time, because its peer has been heard of
// again. Handshakes on a bad wire need it (NET-01). Who only repeats what it has
// sent costs no more so than by beginning anew.
func (g *Gate) goesOn(s *SA, now time.Time) {
	if e, ok := g.bySA[s]; ok {
		a := e.Value.(*arrival)
		a.until = earliest(now.Add(g.limits.HalfOpenLife), a.last)
		g.order.MoveToBack(e) // nearly in order of until: what is out of it is forgotten a little later
	}
}

// until is how long a half-open IKE SA may be that.
func (g *Gate) until(s *SA) time.Time {
	if e, ok := g.bySA[s]; ok {
		return e.Value.(*arrival).until
	}
	return time.Time{}
}

// release forgets a half-open IKE SA that is none any more.
func (g *Gate) release(s *SA) {
	e, ok := g.bySA[s]
	if !ok {
		return
	}
	a := g.order.Remove(e).(*arrival)
	delete(g.bySA, s)
	delete(g.byMsg, a.digest)
	if g.bySrc[a.src]--; g.bySrc[a.src] <= 0 {
		delete(g.bySrc, a.src)
	}
}

// settled forgets a half-open IKE SA that got its IKE_AUTH, but not the request
// that began it.
func (g *Gate) settled(now time.Time, s *SA) {
	if e, ok := g.bySA[s]; ok {
		g.passed.add(now, e.Value.(*arrival).digest)
	}
	g.release(s)
}

// authFailed notes that somebody at an address did not prove who it is. The
// address is real: it took part in a whole exchange.
func (g *Gate) authFailed(now time.Time, from netip.Addr) {
	from = ipsec.HostOf(from)
	if len(g.failed) >= maxFailedAddrs {
		for a, b := range g.failed {
			if b.Peek(now, 1, authForgive) { // forgiven by now
				delete(g.failed, a)
			}
		}
	}
	if g.failed[from] == nil && len(g.failed) < maxFailedAddrs {
		g.failed[from] = &ike.Bucket{}
	}
	if b := g.failed[from]; b != nil {
		b.Take(now, authFailures, authForgive)
	}
}

// sweep forgets those whose time is over. Their machines end by their own
// Deadline; this is for a runtime that is late.
func (g *Gate) sweep(now time.Time) {
	for e := g.order.Front(); e != nil && now.After(e.Value.(*arrival).until.Add(time.Second)); e = g.order.Front() {
		g.release(e.Value.(*arrival).sa)
	}
}

// askCookie answers with a cookie and keeps nothing, RFC 7296 section 2.6.
//
//	<-- HDR(A,0), N(COOKIE)
func (g *Gate) askCookie(now time.Time, in inbound, out []ike.Action) []ike.Action {
	h := ike.Header{SPIi: in.SPIi, Major: ike.Version2, Exchange: in.Exchange, Flags: ike.FlagResponse}
	msg := wire.Append(nil, h, wire.NewNotify(ike.NotifyCookie, g.cookies.bake(now, in)))
	if len(msg) > len(in.msg) {
		return out
	}
	return append(out, ike.Send{Local: in.local, Remote: in.remote, Msg: msg, Stream: in.stream})
}

// noteOf is note of a refusal, of any of these connections.
func (g *Gate) noteOf(now time.Time, in inbound, out []ike.Action, conns []*ike.Conn, why *ike.Failure) []ike.Action {
	if !g.notes.Take(now, float64(g.limits.Errors), 1) {
		return out
	}
	return append(out, ike.Refusal(in.remote, conns, why))
}

// note reports what an unknown caller did, at a bounded rate.
func (g *Gate) note(now time.Time, in inbound, out []ike.Action, text string) []ike.Action {
	if !g.notes.Take(now, float64(g.limits.Errors), 1) {
		return out
	}
	return append(out, ike.Report{Peer: in.remote, Fact: ike.Note{Text: text}})
}

// answerLen is how long our answer to a greeting will be. That we began it says
// that no other connections need to be asked for.
func answerLen(gr *greeting) int {
	st := &step{SA: &SA{cfg: &Config{Rand: zeros{}}, conn: gr.conn, began: true, local: gr.in.local, remote: gr.in.remote, hs: &handshake{nr: make([]byte, nonceLen)}}}
	st.hs.ppk.agreed = says(gr.in.Payloads, ike.NotifyUsePPK) // at most
	return len(st.initResponse(gr, make([]byte, gr.chosen.KE.Answer)))
}

// zeros stands in for randomness where only lengths count.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
