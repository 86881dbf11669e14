package ikev1

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/netip"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
)

// inbound is a message on its way to a handler. after and iv are those of an
// encrypted one, see wire.Opened.
type inbound struct {
	ike.Header
	wire.Payloads
	digest        [sha256.Size]byte
	after         []byte // what HASH(1) covers
	iv            []byte
	local, remote netip.AddrPort
}

// receive takes one datagram. Dropping changes nothing but token buckets: what
// is not authenticated must not leave a trace.
func (s *step) receive(ev ike.Received) {
	h, err := ike.ParseHeader(ev.Msg)
	if err != nil || h.Major != ike.Version1 || !s.mine(h) {
		return
	}
	in := inbound{Header: h, digest: sha256.Sum256(ev.Msg), local: ev.Local, remote: ev.Remote}
	switch h.Exchange {
	case ike.MainMode:
		s.receiveMain(in, ev.Msg)
	case ike.QuickMode:
		s.receiveQuick(in, ev.Msg)
	case ike.InfoV1:
		s.receiveInfo(in, ev.Msg)
	default:
		s.noteLimited("unsupported exchange type %s in message", h.Exchange)
	}
}

// mine reports whether a message is of this ISAKMP SA. Only the first answer
// tells an initiator the responder's cookie.
func (s *SA) mine(h ike.Header) bool {
	if h.SPIi != s.spiI {
		return false
	}
	if s.state == stateMainI1 {
		return h.SPIr != 0 || h.Exchange == ike.InfoV1
	}
	return h.SPIr == s.spiR
}

// mainStep is one cell of the table of Main Mode: which message a state
// expects and who handles it.
type mainStep struct {
	encrypted bool
	shape     func(*SA) wire.Shape
	handle    func(*step, inbound)
}

func fixed(s wire.Shape) func(*SA) wire.Shape { return func(*SA) wire.Shape { return s } }

// authShape is that of MI3 and MR3.
func authShape(s *SA) wire.Shape {
	if s.chosen.method == ike.AuthPSK {
		return wire.MainHash
	}
	return wire.MainSig
}

func mainTable(st state) (m mainStep, ok bool) {
	switch st {
	case stateMainI1:
		return mainStep{false, fixed(wire.MainSA), (*step).gotMR1}, true
	case stateMainI2:
		return mainStep{false, fixed(wire.MainKE), (*step).gotMR2}, true
	case stateMainI3:
		return mainStep{true, authShape, (*step).gotMR3}, true
	case stateMainR2:
		return mainStep{true, authShape, (*step).gotMI3}, true
	}
	return mainStep{}, false
}

// receiveMain takes a message of Main Mode. As responder we answer the last one
// again to whoever repeats it; an initiator repeats itself by its own timer.
func (s *step) receiveMain(in inbound, msg []byte) {
	if in.digest == s.main.seen {
		if s.main.reply != nil && s.main.replays.Take(s.now, replayBurst, replayPerSec) {
			s.sendTo(in.local, in.remote, s.main.reply)
		}
		return
	}
	m, ok := mainTable(s.state)
	if !ok || s.hs == nil || s.hs.busy || in.MessageID != 0 {
		return
	}
	s.noteCommit(in.Header)
	if m.encrypted {
		if ok = s.open(&in, msg, s.iv); !ok {
			s.noteLimited("probable authentication failure (mismatch of preshared secrets?): malformed payload in packet")
			return
		}
	} else {
		got, err := wire.Parse(msg)
		if err != nil {
			return
		}
		in.Payloads = got.Payloads
	}
	if m.shape(s.SA).Check(in.Payloads, s.natDraft) != nil {
		return
	}
	m.handle(s, in)
}

// accepted notes that a message of Main Mode is being acted on: its repetitions
// are, from now on.
func (s *step) accepted(in inbound) {
	s.main.seen, s.main.reply = in.digest, nil
}

// remembered notes the message ID of a proven exchange of the peer. An ISAKMP
// SA that has seen too many is replaced in time.
func (s *step) remembered(id uint32) {
	s.used[id] = struct{}{}
	if len(s.used) >= maxMessageIDs/2 && s.state == stateUp {
		s.replace()
	}
}

// noteCommit mentions the Commit bit, which FreeS/WAN ignored and so do we
// (freeswan.md 6.1): our QI2 is repeated until the peer has it.
func (s *step) noteCommit(h ike.Header) {
	if h.Flags&ike.FlagCommit != 0 && !s.commitNoted {
		s.commitNoted = true
		s.note("ignoring the Commit Bit of the peer")
	}
}

// open decrypts and decodes. Failures are counted, because each costs a
// decryption. The IV goes into in and becomes the chain's once the message is
// proven (V1-25).
func (s *step) open(in *inbound, msg, iv []byte) bool {
	if s.block == nil || !s.forged.Peek(s.now, forgedBurst, forgedPerSec) {
		return false
	}
	o, err := wire.Open(msg, s.block, iv)
	if err != nil {
		s.forged.Take(s.now, forgedBurst, forgedPerSec)
		return false
	}
	in.Payloads, in.iv, in.after = o.Payloads, o.IV, o.After[0]
	return true
}

// hash1 is HASH(1) and, with nonces, HASH(2) of RFC 2409 section 5.5:
//
//	HASH(1) = prf(SKEYID_a, M-ID | rest of the message)
//	HASH(2) = prf(SKEYID_a, M-ID | Ni_b | rest of the message)
func (s *SA) hash1(id uint32, rest []byte) []byte { return s.hash2(id, nil, rest) }

func (s *SA) hash2(id uint32, ni, rest []byte) []byte {
	return s.chosen.PRF.Sum(s.keys.a.Bytes(), octet.AppendUint32(nil, id), ni, rest)
}

// hash3 is HASH(3) = prf(SKEYID_a, 0 | M-ID | Ni_b | Nr_b).
func (s *SA) hash3(id uint32, ni, nr []byte) []byte {
	return s.chosen.PRF.Sum(s.keys.a.Bytes(), []byte{0}, octet.AppendUint32(nil, id), ni, nr)
}

func (in inbound) hashIs(want []byte) bool {
	h, ok := in.HASH()
	return ok && hmac.Equal(h.Data, want)
}

// heard notes an authenticated message: the peer lives, and it is where the
// message came from. Only a peer behind a NAT moves. No message is accepted
// twice, so a repeated one cannot move it back.
func (s *step) heard(in inbound) {
	s.lastHeard = s.now
	s.dpd.tries = 0
	if s.natRemote && (in.remote != s.remote || in.local != s.local) {
		s.moveTo(in.local, in.remote)
	}
}

// moveTo takes a new address of the peer. Its IPsec SAs are negotiated anew
// rather than changed in place, so that each key serves one pair of addresses.
func (s *step) moveTo(local, remote netip.AddrPort) {
	if local == s.local && remote == s.remote || s.now.Before(s.lastMoved.Add(moveEvery)) {
		return
	}
	s.note("the peer moved from %s to %s", s.remote, remote)
	s.local, s.remote, s.lastMoved = local, remote, s.now
	for _, c := range s.children {
		if !c.replaced {
			s.rekeyChild(c)
		}
	}
}

// plane handles what the data plane says about our IPsec SAs.
func (s *step) plane(ev ipsec.Event) {
	switch ev := ev.(type) {
	case ipsec.FirstUse:
		if q := s.quickByIn(ev.ID); q != nil {
			s.lastHeard = s.now
			s.confirmed(q) // as good as QI2 (V1-15)
		}
	case ipsec.Expire:
		if c := s.childByID(ev.ID); c != nil {
			c.spent = true
			s.childLimit(c, ev.Hard)
		}
	case ipsec.Lost:
		if c := s.childByID(ev.ID); c != nil && !c.replaced {
			s.childLost(c)
		}
	case ipsec.PeerMoved:
		if c := s.childByID(ev.ID); c != nil && !c.replaced && s.encap && s.protected() {
			s.lastHeard = s.now
			s.moveTo(s.local, ev.From)
		}
	}
}
