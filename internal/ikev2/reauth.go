package ikev2

import (
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/octet"
)

// Reauthentication: rekeying makes new keys, but never asks again who the peer
// is. Where that is wanted (reauth=yes, or the peer's AUTH_LIFETIME, RFC 4478)
// the end that began makes a new IKE SA from the beginning, with its Child SAs,
// before the old one is deleted; both carry traffic meanwhile (RFC 7296, 2.8.3).
// The machine only says when. The connection table makes the other one.

// authClock says how long an authentication lasts. It goes on through
// rekeyings.
type authClock struct{ at, end time.Time }

// startAuthClock sets it for an IKE SA that is up. Such an IKE SA is not rekeyed
// at the end of its life as well.
func (s *step) startAuthClock() {
	if !s.conn.Reauth {
		return
	}
	s.replaceAt, s.endAt = time.Time{}, time.Time{}
	s.limitAuth(s.conn.IKELife)
}

// limitAuth lets the authentication run out after a while, if it does not do so
// before.
func (s *step) limitAuth(life time.Duration) {
	at, end := s.lifetimes(s.conn, life, true)
	if end.IsZero() || !s.auth.end.IsZero() && !end.Before(s.auth.end) {
		return
	}
	s.auth.end = end
	if s.began { // only who began can do it: the other end may ask for a password
		s.auth.at = at
	}
}

// authLifetime is what a responder says of it, RFC 4478 section 3.
func (s *step) authLifetime() []wire.Payload {
	if !s.conn.Reauth || s.conn.IKELife <= 0 {
		return nil
	}
	return []wire.Payload{wire.NewNotify(ike.NotifyAuthLifetime, octet.AppendUint32(nil, uint32(s.conn.IKELife/time.Second)))}
}

// takeAuthLifetime heeds the responder's word. One that is shorter than
// leastAuthLife is taken for that: RFC 4478 knows no least, and whoever says a
// second would have us authenticate every second. Should the peer mean it, it
// deletes the IKE SA, which is dealt with as any Delete.
func (s *step) takeAuthLifetime(ps wire.Payloads) {
	n, ok := ps.Notify(ike.NotifyAuthLifetime)
	if !ok || !s.began || len(n.Data) != 4 {
		return
	}
	if secs := octet.NewReader(n.Data).Uint32(); secs > 0 {
		s.limitAuth(max(time.Duration(secs)*time.Second, leastAuthLife))
	}
}

// authDue does what the clock asks for.
func (s *step) authDue() {
	due := func(t time.Time) bool { return !t.IsZero() && !s.now.Before(t) }
	switch {
	case due(s.auth.end):
		s.close(&ike.Failure{Reason: ike.ReasonOther, Why: "the authentication is too old: the IKE SA's lifetime is over"})
	case due(s.auth.at):
		// Once more before the end, should it come to nothing.
		s.auth.at = s.now.Add(max(s.auth.end.Sub(s.now)/3, reauthRetry))
		s.report(ike.ReauthDue{})
	}
}
