package ikev2

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
)

// Quick crash detection, RFC 6290. In an IKE SA each end gives the other a
// token that it can compute again without remembering anything else. A peer
// that has lost its IKE SAs answers what it cannot read with the token, in the
// clear: from then on it is known to have none, and nobody else could have said
// so.
//
//	HDR, SK {...} -->
//	<-- HDR, N(INVALID_IKE_SPI), N(QCD_TOKEN)

// tokenLen is that of our tokens; theirs may have 16 to 128 octets (section
// 4.1).
const (
	tokenLen               = 16
	leastToken, longestTok = 16, 128
)

// TokenSecret makes tokens. It must outlive a crash, and be known to nobody
// else.
type TokenSecret struct{ key ipsec.Secret }

// NewTokenSecret takes a secret of at least 128 bits.
func NewTokenSecret(key ipsec.Secret) (TokenSecret, error) {
	if key.Len() < 16 {
		return TokenSecret{}, fmt.Errorf("a secret of %d octets is too short for tokens of crash detection", key.Len())
	}
	return TokenSecret{key}, nil
}

// token is that of an IKE SA of ours, section 5.1. It covers which end we are:
// whoever turns the flag in a header around asks for the token of an IKE SA
// that cannot be, not for that of one which lives.
func (t TokenSecret) token(spiI, spiR uint64, initiator bool) []byte {
	h := hmac.New(sha256.New, t.key.Bytes())
	role := byte(0)
	if initiator {
		role = 1
	}
	h.Write(append(octet.AppendUint64(octet.AppendUint64(nil, spiI), spiR), role))
	return h.Sum(nil)[:tokenLen]
}

func (t TokenSecret) has() bool { return t.key.Len() > 0 }

// ourToken is what we tell the peer in this IKE SA, if we do.
func (s *SA) ourToken() []wire.Payload {
	if !s.cfg.Tokens.has() {
		return nil
	}
	return []wire.Payload{wire.NewNotify(ike.NotifyQCDToken, s.cfg.Tokens.token(s.spiI, s.spiR, s.first))}
}

// takeToken remembers the peer's, which came protected.
func (s *SA) takeToken(ps wire.Payloads) (has bool) {
	n, has := ps.Notify(ike.NotifyQCDToken)
	if has && len(n.Data) >= leastToken && len(n.Data) <= longestTok {
		s.peerToken = clone(n.Data)
	}
	return has
}

// reborn ends an IKE SA whose peer has shown that it knows nothing of it any
// more. It reports whether it has.
func (s *step) reborn(ps wire.Payloads) bool {
	n, ok := ps.Notify(ike.NotifyQCDToken)
	if !ok || len(s.peerToken) == 0 || subtle.ConstantTimeCompare(n.Data, s.peerToken) != 1 {
		return false
	}
	s.end(&ike.Failure{Reason: ike.ReasonSilent, Why: "the peer has lost its state: " + s.remote.String() + " has started anew", ByPeer: true}, false)
	s.die()
	return true
}

// lostSA answers a message of an IKE SA that we do not have, for we may have
// lost it in a crash. It keeps nothing, and says nothing where no token was
// ever made.
func (g *Gate) lostSA(now time.Time, h ike.Header, m ike.Received, out []ike.Action) []ike.Action {
	if !g.cfg.Tokens.has() || h.SPIi == 0 || h.SPIr == 0 || h.Exchange < ike.Auth {
		return out
	}
	// Of the end that the message is for: the responder, if the initiator sent it.
	token := g.cfg.Tokens.token(h.SPIi, h.SPIr, !h.FromInitiator())
	return g.answer(now, h, m, out, wire.NewNotify(ike.NotifyInvalidIKESPI, nil), wire.NewNotify(ike.NotifyQCDToken, token))
}
