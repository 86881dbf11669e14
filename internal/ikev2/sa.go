package ikev2

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Config is what the IKE SAs of one daemon share. It does not change while
// they live.
type Config struct {
	PAD        ike.PAD
	Rand       io.Reader // never fails; a failure panics, because no key would be safe
	SPIs       ike.SPISource
	NextSerial func() uint32
	// UseInitialContact reports whether we hold nothing else with the peer of
	// a connection, so that INITIAL_CONTACT may be said. Nil never says it.
	UseInitialContact func(*ike.Conn) bool
	// Authorities is the content of our CERTREQ payload for the remote end of
	// a connection, nil: for whoever calls (ike.CertStore). Nil never asks.
	Authorities func(*ike.Conn) (hashes []byte, ok bool)
	// Tokens makes the tokens by which peers know at once that we have lost
	// their IKE SAs, RFC 6290. The zero value makes none.
	Tokens  TokenSecret
	tickets ticketBox // of gateways, to be used by the next IKE SA with each
	// RedirectTo is where everybody who calls is sent, if he goes (RFC 5685).
	RedirectTo netip.Addr
	// Pool gives addresses to peers of connections with FromPool. Nil gives
	// none.
	Pool Pool
	Wall ike.Wall // the time of day
}

// SA is one IKE SA. It implements ike.Machine.
type SA struct {
	cfg    *Config
	conn   *ike.Conn // nil on a responder until it knows who is calling
	serial uint32
	first  bool // we sent the first message of this IKE SA
	state  state

	spiI, spiR          uint64
	local, remote       netip.AddrPort
	tcp                 tcpRole        // whether by TCP
	sure                netip.AddrPort // the end of the TCP connection that is known to be the peer's
	users               *int           // IKE SAs on the connection that we have opened: we and heirs
	localID, remoteID   ike.ID
	saidID              ike.ID         // what the peer called itself; EAP may have proven another name
	peerMethod          ike.AuthMethod // by which the peer has proven itself, at the responder
	peerCerts           [][]byte       // the chain that proved the peer, in DER
	stranger            stranger       // of an IKE SA with one
	natPeerKnows        bool           // the peer does NAT detection
	natLocal, natRemote bool           // a NAT is before us, before the peer
	encap               bool           // ESP goes in UDP
	mobike              bool           // both ends know RFC 4555
	virtual             Lease          // what the Configuration payload has settled
	leased              bool           // we gave it, and must take it back
	seenAs              []byte         // NAT_DETECTION_DESTINATION_IP as the peer had it last; see watchesPath
	began               bool           // we began the first IKE SA of those that replaced each other
	lastMoved           time.Time
	chosen              suite.Chosen
	keys                ikeKeys
	sealer, opener      wire.SKCipher
	openerBefore        wire.SKCipher // of the keys before IKE_INTERMEDIATE, for its repetitions
	peerToken           []byte        // by which the peer says that it has lost this IKE SA
	fragments           bool          // both ends know RFC 7383
	asking, answering   assembly
	icvFailures         ike.Bucket
	hints               ike.Bucket
	win                 window
	hs                  *handshake // until established
	jobs                map[uint64]func(*step, any, error)
	lastJob             uint64
	tasks               []waiting
	active              task
	children            []*child
	graves              []grave
	isUp                bool      // IKEUp was reported, IKEDown not yet
	replaceAt, endAt    time.Time // of an established IKE SA
	auth                authClock
	giveUp              time.Time // when a passing state ends by itself
	lastHeard           time.Time // last authenticated word of the peer
	keepAliveAt         time.Time
	follow              *expected // the peer's rekeying goes on with IKE_FOLLOWUP_KE
	peerRekeys          bool      // the peer's rekeying of this IKE SA is being worked on
	deleteWanted        bool      // Delete came while our rekeying was under way
	moved               bool      // what ike.Delete said
	// What the predecessor handed over, done at the next TimeUp, which is due
	// at once: stepping this machine from inside the other's Step would make
	// its jobs and reports look like the other's.
	inbox                  []ike.Event
	kick                   time.Time
	successor, predecessor *SA   // on rekeying; see exchange_rekey.go
	gate                   *Gate // until not half-open any more
}

// NewInitiator returns the machine of an IKE SA that we start, in answer to
// which Step(Initiate{}) sends the first message.
func NewInitiator(cfg *Config, conn *ike.Conn, local, remote netip.AddrPort) *SA {
	s := newSA(cfg, conn, local, remote)
	if conn.TCP == ike.TCPYes {
		s.openTCP(local.Addr())
	}
	s.first, s.began = true, true
	s.spiI = s.newSPI()
	s.hs = &handshake{}
	return s
}

func newSA(cfg *Config, conn *ike.Conn, local, remote netip.AddrPort) *SA {
	return &SA{
		cfg: cfg, conn: conn, serial: cfg.NextSerial(), local: local, remote: remote,
		jobs: make(map[uint64]func(*step, any, error)),
	}
}

// Serial implements ike.Machine.
func (s *SA) Serial() uint32 { return s.serial }

// SPIs implements ike.Machine.
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

// Conn is the connection the IKE SA belongs to, nil while it is not known.
func (s *SA) Conn() *ike.Conn { return s.conn }

// step is one call of Step: the machine, the time, and what must happen.
type step struct {
	*SA
	now time.Time
	out []ike.Action
}

// Step implements ike.Machine.
func (s *SA) Step(now time.Time, ev ike.Event, out []ike.Action) []ike.Action {
	st := &step{SA: s, now: now, out: out}
	if s.state == stateDead {
		return out
	}
	st.dispatch(ev)
	st.settle()
	return st.out
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
		if ev.Tell && s.state == stateUp {
			s.queue(&probeTask{tell: true})
		} else {
			s.probe()
		}
	case ike.Plane:
		s.plane(ev.Event)
	case ike.StreamLost:
		s.streamLost(ev)
	case ike.Move:
		s.move(ev)
	case ike.Refused:
		s.refused(ev)
	}
}

// emit appends an action.
func (s *step) emit(a ike.Action) { s.out = append(s.out, a) }

// report appends a fact about the IKE SA.
func (s *step) report(f ike.Fact) { s.reportOf(s.conn, s.serial, f) }

func (s *step) reportOf(c *ike.Conn, serial uint32, f ike.Fact) {
	s.emit(ike.Report{Conn: c, Serial: serial, Peer: s.remote, Fact: f})
}

func (s *step) note(format string, args ...any) {
	s.report(ike.Note{Text: fmt.Sprintf(format, args...)})
}

// enter changes the state and says so.
func (s *step) enter(to state) {
	s.state = to
	if t := states[to]; t.text != "" {
		s.report(ike.State{Code: t.code, Name: t.name, Text: t.text})
	}
}

func (s *SA) stateName() string { return states[s.state].name }

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

// random returns n octets.
func (s *SA) random(n int) []byte { return ike.Octets(s.cfg.Rand, n) }

// fraction is uniform in [0,1).
func (s *SA) fraction() float64 { return ike.Fraction(s.cfg.Rand) }

// newSPI draws an IKE SPI, which must not be zero.
func (s *SA) newSPI() uint64 {
	for {
		if spi := binary.BigEndian.Uint64(s.random(8)); spi != 0 {
			return spi
		}
	}
}

// established reports whether both ends are authenticated and the IKE SA may
// carry requests.
func (s *SA) established() bool {
	return s.state == stateUp || s.state == stateReplaced || s.state == stateClosing
}

// seal protects a message of ours, in fragments if it is long.
func (s *step) seal(x ike.ExchangeType, id uint32, flags ike.Flags, payloads []wire.Payload) datagrams {
	h := s.header(x, id, flags)
	if cut := s.cut(h, payloads); cut != nil {
		return cut
	}
	return datagrams{wire.Seal(nil, h, payloads, s.sealer)}
}

// header is that of a message of ours.
func (s *SA) header(x ike.ExchangeType, id uint32, flags ike.Flags) ike.Header {
	if s.first {
		flags |= ike.FlagInitiator
	}
	return ike.Header{SPIi: s.spiI, SPIr: s.spiR, Major: ike.Version2, Exchange: x, Flags: flags, MessageID: id}
}

// datagrams are the datagrams of one message: itself, or its fragments.
type datagrams [][]byte

// transmit sends a message.
func (s *step) transmit(w way, msg datagrams) {
	for _, p := range msg {
		s.emit(ike.Send{Local: w.local, Remote: w.remote, Msg: clone(p), Stream: w.stream, Dial: w.stream && s.tcp == tcpOpens})
	}
}

// request sends the next protected request and waits for its answer.
func (s *step) request(x ike.ExchangeType, payloads ...wire.Payload) {
	id := s.win.nextID
	s.win.nextID++
	if s.win.nextID == lastMessageID {
		s.rekeyIKE()
	}
	msg := s.seal(x, id, 0, payloads)
	s.expectReply(id, x, msg)
	s.transmit(s.way(), msg)
}

// respond answers the request being worked on, to where it came from.
func (s *step) respond(payloads ...wire.Payload) {
	msg := s.seal(s.win.exchange, s.win.expect, ike.FlagResponse, payloads)
	s.win.answered(msg)
	s.transmit(s.win.from, msg)
}

// refuse answers with an error notify; the IKE SA lives on.
func (s *step) refuse(e *ike.NotifyError) {
	s.respond(wire.NewNotify(e.Type, e.Data))
}

// fatal answers a request with an error and ends the IKE SA, RFC 7296, 2.21.3.
func (s *step) fatal(e *ike.NotifyError) {
	s.refuse(e)
	s.end(&ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer broke the protocol: " + e.Why, Notify: e.Type}, false)
}

// reserve takes an inbound SPI of the data plane.
func (s *step) reserve(p ipsec.Proto) (ipsec.SPI, error) {
	return s.cfg.SPIs.ReserveSPI(s.local.Addr(), p)
}
