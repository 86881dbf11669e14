package ikev2

import (
	"crypto/aes"
	"crypto/cipher"
	"io"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// Tickets of session resumption, RFC 5723, "by value": all that a gateway must
// know of an IKE SA to take it up again is in the ticket, sealed by a key that
// nobody else has and that is replaced before long. The gateway itself keeps
// nothing.

// session is what a ticket says.
type session struct {
	expires         time.Time
	authEnd         time.Time // when its authentication runs out; zero: never
	conn            string
	method          ike.AuthMethod // that the peer has proven itself by
	ppk             bool
	localID, peerID ike.ID // as the gateway has them
	saidID          ike.ID // what the peer called itself in IKE; EAP may have proven another name
	chosen          suite.Offer
	group           uint16
	d               ipsec.Secret
}

// ticketJar seals tickets. Its keys live in memory only: whoever takes the
// machine later cannot read tickets of before.
type ticketJar struct {
	rand    io.Reader
	version uint8
	keys    [2][]byte // current and previous
	until   time.Time // of the current one
	// origin is the instant that times in tickets count from, so that they go
	// by the clock of machines: the time of day may be set between giving a
	// ticket and its use.
	origin time.Time
}

const (
	ticketKeyLife = 12 * time.Hour // of each key; tickets are good for as long at most
	ticketKeyLen  = 32
	ticketFormat  = 1
	maxTicket     = 2048
)

// turn replaces the key when its time is over, as cookieJar does.
func (j *ticketJar) turn(now time.Time) {
	if j.origin.IsZero() {
		j.origin = now
	}
	if j.keys[0] != nil && now.Before(j.until) {
		return
	}
	if now.After(j.until.Add(ticketKeyLife)) {
		j.keys[0] = nil
	}
	clear(j.keys[1])
	j.keys[1], j.keys[0] = j.keys[0], ike.Octets(j.rand, ticketKeyLen)
	j.version++
	j.until = now.Add(ticketKeyLife)
}

// forget makes all tickets that were sealed worthless.
func (j *ticketJar) forget() {
	clear(j.keys[0])
	clear(j.keys[1])
	j.keys = [2][]byte{}
}

func (j *ticketJar) aead(version uint8) cipher.AEAD {
	var key []byte
	switch version {
	case j.version:
		key = j.keys[0]
	case j.version - 1:
		key = j.keys[1]
	}
	if key == nil {
		return nil
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("ikev2: ticket key: " + err.Error()) // it has 32 octets
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic("ikev2: ticket key: " + err.Error())
	}
	return gcm
}

// seal makes a ticket: version | nonce | sealed session.
func (j *ticketJar) seal(now time.Time, s session) []byte {
	j.turn(now)
	gcm := j.aead(j.version)
	nonce := ike.Octets(j.rand, gcm.NonceSize())
	plain := s.append(nil, j.origin)
	defer clear(plain)
	return gcm.Seal(append([]byte{j.version}, nonce...), nonce, plain, []byte{j.version})
}

// open reads a ticket of ours that has not run out.
func (j *ticketJar) open(now time.Time, ticket []byte) (session, bool) {
	if len(ticket) == 0 || len(ticket) > maxTicket {
		return session{}, false
	}
	j.turn(now)
	gcm := j.aead(ticket[0])
	if gcm == nil || len(ticket) < 1+gcm.NonceSize() {
		return session{}, false
	}
	n := 1 + gcm.NonceSize()
	plain, err := gcm.Open(nil, ticket[1:n], ticket[n:], ticket[:1])
	if err != nil {
		return session{}, false
	}
	defer clear(plain)
	s, ok := parseSession(plain, j.origin)
	return s, ok && now.Before(s.expires)
}

func (s session) append(b []byte, origin time.Time) []byte {
	text := func(t string) {
		b = octet.AppendUint16(b, uint16(len(t)))
		b = append(b, t...)
	}
	since := func(t time.Time) uint64 { // nanoseconds; 0 is the zero time
		if t.IsZero() {
			return 0
		}
		return uint64(max(1, t.Sub(origin)))
	}
	ppk := byte(0)
	if s.ppk {
		ppk = 1
	}
	b = append(b, ticketFormat, byte(s.method), ppk)
	b = octet.AppendUint64(octet.AppendUint64(b, since(s.expires)), since(s.authEnd))
	b = octet.AppendUint16(b, s.group)
	text(s.conn)
	for _, id := range []ike.ID{s.localID, s.peerID, s.saidID} {
		b = append(b, byte(id.Kind))
		text(id.Data)
	}
	text(string(s.d.Bytes()))
	return wire.AppendPayloads(b, []wire.Payload{wire.SA{Proposals: []suite.Offer{s.chosen}}})
}

func parseSession(b []byte, origin time.Time) (s session, ok bool) {
	r := octet.NewReader(b)
	text := func() string { return string(r.Bytes(int(r.Uint16()))) }
	since := func() time.Time {
		if v := r.Uint64(); v != 0 {
			return origin.Add(time.Duration(v))
		}
		return time.Time{}
	}
	if r.Uint8() != ticketFormat {
		return session{}, false
	}
	s.method, s.ppk = ike.AuthMethod(r.Uint8()), r.Uint8() == 1
	s.expires, s.authEnd = since(), since()
	s.group = r.Uint16()
	s.conn = text()
	for _, id := range []*ike.ID{&s.localID, &s.peerID, &s.saidID} {
		id.Kind = ike.IDKind(r.Uint8())
		id.Data = text()
	}
	s.d = ipsec.NewSecret([]byte(text()))
	rest := r.Rest()
	if r.Err() != nil {
		return session{}, false
	}
	ps, err := wire.ParsePayloads(ike.PayloadSA, rest)
	if err != nil {
		return session{}, false
	}
	sa, ok := ps.SA()
	if !ok || len(sa.Proposals) != 1 {
		return session{}, false
	}
	s.chosen = sa.Proposals[0]
	return s, true
}

// ticket is one that we have as a client, with what goes with it.
type ticket struct {
	opaque          []byte
	expires         time.Time
	conn            *ike.Conn
	localID, peerID ike.ID
	chosen          suite.Chosen
	d               ipsec.Secret
	auth            authClock
}

// ticketBox holds the tickets of a client, the newest of each connection.
type ticketBox map[string]ticket

func (b ticketBox) put(t ticket) {
	if old, ok := b[t.conn.Title()]; ok {
		old.d.Wipe()
	}
	b[t.conn.Title()] = t
}

// take returns the ticket for a connection and forgets it: none is used twice
// (RFC 5723, 4.3.1), lest a listener learns that the same peer is back. One that
// goes back to an authentication which is to be renewed is of no use: the IKE SA
// that it would bring is to be the renewal.
func (b ticketBox) take(now time.Time, c *ike.Conn) (ticket, bool) {
	t, ok := b[c.Title()]
	delete(b, c.Title())
	due := !t.auth.at.IsZero() && !now.Before(t.auth.at)
	return t, ok && t.conn == c && now.Before(t.expires) && !due
}

func (b ticketBox) drop(c *ike.Conn) {
	if t, ok := b[c.Title()]; ok {
		t.d.Wipe()
		delete(b, c.Title())
	}
}
