package ikev1

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
)

// Config is what the ISAKMP SAs of one daemon share. Its fields do not change
// while they live; it must not be copied.
type Config struct {
	PAD        ike.PAD
	Rand       io.Reader // never fails; a failure panics, because no key would be safe
	SPIs       ike.SPISource
	NextSerial func() uint32
	// UseInitialContact reports whether we hold nothing else with the peer of
	// a connection, so that INITIAL-CONTACT may be said. Nil never says it.
	UseInitialContact func(*ike.Conn) bool
	// Spoken reports whether any connection uses IKEv1. Where none does, its
	// messages are dropped without a word. Nil means that one may.
	Spoken func() bool
	// Authority is the distinguished name, in DER, of whom our CERTREQ payload
	// asks for a certificate of the remote end of a connection: empty for any
	// CA. Nil never asks.
	Authority func(*ike.Conn) (name []byte, ok bool)
	// Bundles says that the data plane takes several SAs around one packet:
	// AH outside ESP, IPComp inside it. Without it they are refused.
	Bundles bool
	Wall    ike.Wall // the time of day

	machines []*SA // all that live, oldest first; see takeover.go
}

// SA is one ISAKMP SA with the IPsec SAs that it answers for. It implements
// ike.Machine.
type SA struct {
	cfg    *Config
	conn   *ike.Conn
	serial uint32
	first  bool // we sent the first message
	state  state

	spiI, spiR        uint64
	local, remote     netip.AddrPort
	localID, remoteID ike.ID
	peerCerts         [][]byte // the chain that proved the peer, in DER

	chosen phase1
	keys   keys
	block  cipher.Block
	iv     []byte     // of the next message of Main Mode; once established, its last block
	hs     *handshake // until established
	main   mainWindow

	natPeerKnows        bool // the peer does NAT traversal
	natDraft            bool // with the numbers of the drafts
	natLocal, natRemote bool // a NAT is before us, before the peer
	encap               bool // ESP goes in UDP
	lastMoved           time.Time
	dpd                 dpd

	quicks   []*quick            // under way, and done ones that may have to speak again
	wants    []want              // Quick Modes in line
	used     map[uint32]struct{} // message IDs seen and sent
	children []*child
	graves   []grave

	jobs    map[uint64]func(*step, any, error)
	lastJob uint64

	forged, asks, notes ike.Bucket
	commitNoted         bool

	isUp             bool      // IKEUp was reported, IKEDown not yet
	startAt          time.Time // a successor begins by itself
	wakeAt           time.Time // another machine has left work here
	replaceAt, endAt time.Time // of an established ISAKMP SA
	giveUp           time.Time // when a passing state ends by itself
	lastHeard        time.Time // last authenticated word of the peer
	keepAliveAt      time.Time
	tries            int  // failed replacements in a row
	peerGone         bool // the peer has deleted the ISAKMP SA from another
	closing          bool // a later one was closed, and this one is to follow

	successor, predecessor *SA // a replacement under way
	heir                   *SA // the ISAKMP SA that has taken over
	settled                func()
}

// NewInitiator returns the machine of an ISAKMP SA that we start, in answer to
// which Step(Initiate{}) sends the first message.
func NewInitiator(cfg *Config, conn *ike.Conn, local, remote netip.AddrPort) *SA {
	s := newSA(cfg, conn, local, remote)
	s.first = true
	s.spiI = s.newCookie()
	s.hs = &handshake{}
	return s
}

func newSA(cfg *Config, conn *ike.Conn, local, remote netip.AddrPort) *SA {
	s := &SA{
		cfg: cfg, conn: conn, serial: cfg.NextSerial(), local: local, remote: remote,
		jobs: make(map[uint64]func(*step, any, error)), used: map[uint32]struct{}{0: {}},
	}
	cfg.machines = append(cfg.machines, s)
	return s
}

// Serial implements ike.Machine.
func (s *SA) Serial() uint32 { return s.serial }

// SPIs implements ike.Machine: the cookies.
func (s *SA) SPIs() (initiator, responder uint64) { return s.spiI, s.spiR }

// ownSPI is the one of the two that we have chosen.
func (s *SA) ownSPI() uint64 {
	if s.first {
		return s.spiI
	}
	return s.spiR
}

// Initiator implements ike.Machine.
func (s *SA) Initiator() bool { return s.first }

// Conn is the connection the ISAKMP SA belongs to.
func (s *SA) Conn() *ike.Conn { return s.conn }

// step is one call of Step: the machine, the time, and what must happen.
type step struct {
	*SA
	now time.Time
	out *[]ike.Action
}

// in is the same call as it concerns another machine. What it starts must not
// be a job, whose result would come back to s, nor its end.
func (s *step) in(o *SA) *step { return &step{SA: o, now: s.now, out: s.out} }

// Step implements ike.Machine.
func (s *SA) Step(now time.Time, ev ike.Event, out []ike.Action) []ike.Action {
	if s.state == stateDead {
		return out
	}
	st := &step{SA: s, now: now, out: &out}
	st.dispatch(ev)
	st.settle()
	return out
}

func (s *step) dispatch(ev ike.Event) {
	switch ev := ev.(type) {
	case ike.Received:
		s.receive(ev)
	case ike.TimeUp:
		s.timeUp()
	case ike.JobDone:
		s.jobDone(ev)
	case ike.Initiate:
		s.initiate(ev)
	case ike.AddChild:
		s.addChild(ev)
	case ike.Rekey:
		s.rekey(ev)
	case ike.Delete:
		s.delete(ev)
	case ike.Probe:
		s.probe()
	case ike.Plane:
		s.plane(ev.Event)
	case ike.Refused:
		s.refused(ev)
	}
}

// emit appends an action.
func (s *step) emit(a ike.Action) { *s.out = append(*s.out, a) }

// report appends a fact about the ISAKMP SA.
func (s *step) report(f ike.Fact) { s.reportOf(s.conn, s.serial, f) }

func (s *step) reportOf(c *ike.Conn, serial uint32, f ike.Fact) {
	s.emit(ike.Report{Conn: c, Serial: serial, Peer: s.remote, Fact: f})
}

func (s *step) note(format string, args ...any) {
	s.report(ike.Note{Text: fmt.Sprintf(format, args...)})
}

// noteLimited is note for what a peer can cause as often as it likes.
func (s *step) noteLimited(format string, args ...any) {
	if s.notes.Take(s.now, noteBurst, notePerSec) {
		s.note(format, args...)
	}
}

// enter changes the state and says so.
func (s *step) enter(to state) {
	s.state = to
	if t := states[to]; t.text != "" {
		s.report(ike.State{Code: t.code, Name: t.name, Text: t.text})
	}
}

// startJob sends work out of the machine; then continues with its result.
func (s *step) startJob(j ike.Job, then func(*step, any, error)) {
	s.lastJob++
	s.jobs[s.lastJob] = then
	s.emit(ike.StartJob{ID: s.lastJob, Job: j})
}

func (s *step) jobDone(ev ike.JobDone) {
	then, ok := s.jobs[ev.ID]
	if !ok {
		return // the work was given up; its result is not needed
	}
	delete(s.jobs, ev.ID)
	then(s, ev.Result, ev.Err)
}

func (s *step) sendTo(local, remote netip.AddrPort, msg []byte) {
	s.emit(ike.Send{Local: local, Remote: remote, Msg: clone(msg)})
}

func (s *step) send(msg []byte) { s.sendTo(s.local, s.remote, msg) }

// random returns n octets.
func (s *SA) random(n int) []byte { return ike.Octets(s.cfg.Rand, n) }

// fraction is uniform in [0,1).
func (s *SA) fraction() float64 { return ike.Fraction(s.cfg.Rand) }

// newCookie draws a cookie, which must not be zero.
func (s *SA) newCookie() uint64 {
	for {
		if c := binary.BigEndian.Uint64(s.random(8)); c != 0 {
			return c
		}
	}
}

// newMessageID draws a message ID that this ISAKMP SA has not seen.
func (s *SA) newMessageID() uint32 {
	for {
		id := binary.BigEndian.Uint32(s.random(4))
		if _, taken := s.used[id]; !taken {
			s.used[id] = struct{}{}
			return id
		}
	}
}

// protected reports whether the ISAKMP SA can carry Quick Modes and
// Informational messages.
func (s *SA) protected() bool { return s.state == stateUp || s.state == stateReplaced }

// keyed reports whether both ends have keys, proven or not.
func (s *SA) keyed() bool {
	return s.protected() || s.state == stateMainI3 && s.block != nil || s.state == stateRefused
}

// header is that of a message of this ISAKMP SA.
func (s *SA) header(x ike.ExchangeType, id uint32) ike.Header {
	return ike.Header{SPIi: s.spiI, SPIr: s.spiR, Major: ike.Version1, Exchange: x, MessageID: id}
}

// sealInfo makes an Informational message, RFC 2409 section 5.7:
//
//	HDR*, HASH(1), N/D    HASH(1) = prf(SKEYID_a, M-ID | N/D)
func (s *SA) sealInfo(payloads ...wire.Payload) []byte {
	id := s.newMessageID()
	hash := s.hash1(id, wire.AppendPayloads(nil, payloads...))
	msg, _ := wire.Seal(nil, s.header(ike.InfoV1, id), s.block, phase2IV(s.chosen.PRF, s.iv, id), append([]wire.Payload{wire.HASH{Data: hash}}, payloads...)...)
	return msg
}

// tell sends an Informational message, if there is anything to protect it with.
func (s *step) tell(payloads ...wire.Payload) {
	if s.keyed() {
		s.send(s.sealInfo(payloads...))
	}
}
