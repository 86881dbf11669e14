package ikev2

import (
	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// IKE SAs that begin without a Child SA, RFC 6023. The responder says in
// IKE_SA_INIT that it takes them; the initiator then leaves SA, TSi and TSr out
// of IKE_AUTH. What we win as initiator is that the first Child SA, made by
// CREATE_CHILD_SA, has a key exchange of its own.

// childlessNotify is the responder's word in IKE_SA_INIT, if it takes them and
// the answer stays as short as the request.
func (s *step) childlessNotify(c *ike.Conn, room int) []wire.Payload {
	const length = 8
	if s.hs.childless = c.Childless != ike.ChildlessNever && room >= length; !s.hs.childless {
		return nil
	}
	return []wire.Payload{wire.NewNotify(ike.NotifyChildlessSupported, nil)}
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
