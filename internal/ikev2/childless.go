package ikev2

import (
	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// IKE SAs that begin without a Child SA, RFC 6023. The responder says in
// IKE_SA_INIT that it takes them; the initiator then leaves SA, TSi and TSr out
// of IKE_AUTH. What we win as initiator is that the first Child SA, made by
// CREATE_CHILD_SA, has a key exchange of its own.

// childlessLen is the length of CHILDLESS_IKEV2_SUPPORTED, in octets.
const childlessLen = 8

// childlessNotify is the responder's word in IKE_SA_INIT, if it takes them and
// the answer stays as short as the request.
func (s *step) childlessNotify(c *ike.Conn, room int) []wire.Payload {
	if s.hs.childless = c.Childless != ike.ChildlessNever && room >= childlessLen; !s.hs.childless {
		return nil
	}
	return []wire.Payload{wire.NewNotify(ike.NotifyChildlessSupported, nil)}
}

// childlessRoom is how much longer than others the nonce of an initiator is that
// would begin without a Child SA: no answer to an unproven address is longer than
// the request, and the responder needs room for its word.
func (s *step) childlessRoom() int {
	if c := s.conn.Childless; c == ike.ChildlessPrefer || c == ike.ChildlessForce {
		return childlessLen
	}
	return 0
}

// goChildless settles for an initiator whether IKE_AUTH asks for a Child SA. An
// address inside can only be asked for together with it here. It reports false
// where the connection must do without, and the peer cannot.
func (s *step) goChildless(ps wire.Payloads) bool {
	can := says(ps, ike.NotifyChildlessSupported)
	want := s.conn.Childless == ike.ChildlessPrefer || s.conn.Childless == ike.ChildlessForce
	s.hs.childless = can && want && len(s.conn.RequestIP) == 0
	return can || s.conn.Childless != ike.ChildlessForce
}

// childlessUp goes on where IKE_AUTH has brought no Child SA because we asked
// for none: now we do.
func (s *step) childlessUp() {
	trigger := s.hs.trigger
	s.up(0, false)
	s.queue(&createTask{conn: s.conn, trigger: trigger})
}
