package ikev1

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// quickState is how far a Quick Mode has come.
type quickState uint8

const (
	quickMaking quickState = iota // a job is under way, or nothing was sent yet
	quickOpen                     // initiator: QI1 is out
	quickWaits                    // responder: QR1 is out, the inbound SA installed
	quickDone                     // only repeats its last message
)

// quick is one Quick Mode. Each has its message ID and its chain of IVs, so
// that many can be under way (RFC 2409, 5.5).
type quick struct {
	serial  uint32 // of the IPsec SA pair to be
	id      uint32
	first   bool // we sent QI1
	state   quickState
	conn    *ike.Conn
	old     *child // to be replaced
	trigger *ipsec.Flow

	iv      []byte
	seen    [sha256.Size]byte // digest of the last message that was acted on
	reply   []byte            // our answer to it
	replays ike.Bucket
	pending *pending
	until   time.Time // of a done one

	parts   []part // innermost first
	in, out []ipsec.SAID
	terms   terms
	sides   sides
	ids     []byteID
	oas     []wire.NATOA // of the peer
	ni, nr  []byte
	private suite.Private
	shared  ipsec.Secret // of the exchange's own key exchange, with PFS
}

// byteID is the body of a client ID payload, which an answer must repeat.
type byteID = string

// want is a Quick Mode of ours in line.
type want struct {
	conn    *ike.Conn
	trigger *ipsec.Flow
	old     *child
	after   time.Time
}

// want puts a Quick Mode in line.
func (s *step) want(w want) {
	if len(s.wants) >= maxWants {
		s.reportOf(w.conn, s.serial, ike.Failed{Child: s.isUp, Why: &ike.Failure{Reason: ike.ReasonOther, Why: "too many Quick Modes are waiting for this ISAKMP SA"}})
		return
	}
	if w.old != nil {
		w.old.rekeying = true
	}
	s.wants = append(s.wants, w)
}

// settle begins what is in line. It is the last thing every Step does.
func (s *step) settle() {
	switch {
	case s.state == stateUp:
		for s.opening() < maxQuicks {
			i := s.due()
			if i < 0 {
				return
			}
			w := s.wants[i]
			s.wants = slices.Delete(s.wants, i, i+1)
			s.begins(w)
		}
	case s.state == stateBare && s.due() >= 0:
		s.replace() // a Quick Mode needs an ISAKMP SA
	}
}

// due is the index of the first want whose time has come, -1 if there is none.
func (s *step) due() int {
	return slices.IndexFunc(s.wants, func(w want) bool { return !w.after.After(s.now) })
}

// opening counts the Quick Modes of ours that are under way.
func (s *SA) opening() (n int) {
	for _, q := range s.quicks {
		if q.first && q.state != quickDone {
			n++
		}
	}
	return n
}

// abandonWants drops those in line that is accepts. Of a pair that was to be
// replaced its own end will be word enough.
func (s *step) abandonWants(why *ike.Failure, is func(want) bool) {
	all := s.wants
	s.wants = nil
	for _, w := range all {
		switch {
		case !is(w):
			s.wants = append(s.wants, w)
		case w.old != nil:
			w.old.rekeying = false
		default:
			s.reportOf(w.conn, s.serial, ike.Failed{Why: why, Child: s.isUp})
		}
	}
}

func (s *SA) quickByMessage(id uint32) *quick {
	for _, q := range s.quicks {
		if q.id == id {
			return q
		}
	}
	return nil
}

// quickByIn finds the Quick Mode that waits for QI2 and has that inbound SA.
func (s *SA) quickByIn(id ipsec.SAID) *quick {
	for _, q := range s.quicks {
		if q.state == quickWaits && slices.Contains(q.in, id) {
			return q
		}
	}
	return nil
}

func (s *SA) forgetQuick(q *quick) {
	q.shared.Wipe()
	s.quicks = slices.DeleteFunc(s.quicks, func(o *quick) bool { return o == q })
}

// release gives the SPIs of a Quick Mode that came to nothing back.
func (s *step) release(q *quick) {
	for _, p := range q.parts {
		s.remove(ipsec.SAID{Dst: s.local.Addr(), Proto: p.proto, SPI: p.in})
	}
}

// reserve takes inbound SPIs of the data plane for all parts.
func (s *step) reserve(parts []part) error {
	for i := range parts {
		spi, err := s.cfg.SPIs.ReserveSPI(s.local.Addr(), parts[i].proto)
		if err != nil {
			s.release(&quick{parts: parts[:i]})
			return fmt.Errorf("the data plane gives no SPI for %s: %w", parts[i].proto, err)
		}
		parts[i].in = spi
	}
	return nil
}

// done keeps a finished Quick Mode for as long as the peer may ask for its last
// message again.
func (s *step) done(q *quick) {
	q.state, q.pending = quickDone, nil
	q.until = s.now.Add(lingerLife)
	q.shared.Wipe()
	q.private, q.trigger = nil, nil
}

// quickFailed ends a Quick Mode of either side that came to nothing, while the
// ISAKMP SA lives on. A replacement is tried again while its pair lasts.
func (s *step) quickFailed(q *quick, why *ike.Failure) {
	s.release(q)
	s.forgetQuick(q)
	old := q.old
	if old == nil || old.replaced {
		s.reportOf(q.conn, q.serial, ike.Failed{Why: why, Child: true})
		return
	}
	old.rekeying = false
	old.tries++
	text := fmt.Sprintf("IPsec SA #%d could not be replaced: %s", old.serial, why.Why)
	if tries := q.conn.KeyingTries; tries == 0 || old.tries < tries {
		old.replaceAt = s.now
		if why.Reason != ike.ReasonSilent {
			old.replaceAt = s.now.Add(retryRekey)
		}
		text += fmt.Sprintf("; starting keying attempt %d of %s", old.tries+1, triesText(tries))
	}
	s.reportOf(q.conn, q.serial, ike.Note{Text: text, Serious: true})
	s.wake(s.home())
}

// triesText is how FreeS/WAN counted attempts.
func triesText(tries int) string {
	if tries == 0 {
		return "an unlimited number"
	}
	return fmt.Sprintf("at most %d", tries)
}

// quickSilent is what follows a Quick Mode message that was never answered.
func (s *step) quickSilent(q *quick) {
	why := &ike.Failure{Reason: ike.ReasonSilent, Why: q.pending.silentText()}
	s.quickFailed(q, why)
}
