package keys

import (
	"crypto"
	"fmt"
	"slices"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/rawkey"
)

// entry is one secret with its index made ready for lookups. One that is a
// private key has a signer.
type entry struct {
	config.Secret
	index []match
}

// match is one identity of an index: any of ids (a host name has several), or
// %any.
type match struct {
	ids []ike.ID
	any bool
}

func (m match) is(id ike.ID) bool {
	return !id.IsZero() && slices.ContainsFunc(m.ids, id.Equal)
}

// pair is whose secret is wanted.
type pair struct {
	local ike.ID
	peer  peer
}

// peer is the other end as a lookup sees it.
type peer struct {
	id  ike.ID // IDNone: nothing but %any can match
	any bool   // %any in an index matches: the connection is a template or its instance
}

// peerOf applies the rule for road warriors (freeswan.md 3.4): where the
// identity of the peer is only the address it happened to call from, it counts
// as %any. A peer of a template that gave a name is looked up by that name
// first (IKEv2 knows it in time, R9.6), by %any next.
func peerOf(c *ike.Conn, remote ike.ID) peer {
	if !c.Template && c.Instance == 0 {
		return peer{id: remote}
	}
	addr, isAddr := remote.Addr()
	if isAddr && (c.Remote.ID.IsZero() || c.Instance != 0 && addr == c.Remote.Addr) {
		return peer{any: true}
	}
	return peer{id: remote, any: true}
}

// How well an entry fits, freeswan.md 3.4. That page has one score for a pair;
// here a pair by name beats a pair by %any, which it never meets together.
const (
	noMatch = iota
	byDefault
	oursAmongOthers
	oursAlone
	byWildcard
	byName
)

func (e *entry) score(p pair) int {
	if len(e.index) == 0 {
		return byDefault
	}
	ours, theirs, wild := false, false, false
	for _, m := range e.index {
		ours = ours || m.is(p.local)
		theirs = theirs || m.is(p.peer.id)
		wild = wild || m.any && p.peer.any
	}
	switch {
	case !ours:
		return noMatch
	case theirs:
		return byName
	case wild:
		return byWildcard
	case len(e.index) == 1:
		return oursAlone
	case e.Kind == config.SecretPrivate:
		return oursAmongOthers
	}
	return noMatch
}

// find returns the best entry of a kind, the first in file order among equals,
// or nil.
func (r *Ring) find(kind config.SecretKind, p pair) *entry {
	table := r.entries()
	var best *entry
	most, distinct := noMatch, false
	for i := range table {
		e := &table[i]
		if e.Kind != kind {
			continue
		}
		switch s := e.score(p); {
		case s > most:
			best, most, distinct = e, s, false
		case s == most && s != noMatch && !best.same(e):
			distinct = true
		}
	}
	if distinct {
		r.opts.Note(fmt.Sprintf("multiple ipsec.secrets entries with distinct secrets match endpoints %s and %s: first secret used", show(p.local), show(p.peer.id)))
	}
	return best
}

// same reports whether two entries of one kind hold the same secret.
func (e *entry) same(other *entry) bool {
	if e.Kind == config.SecretPSK {
		return e.PSK.Equal(other.PSK)
	}
	return e.publicIs(other.Private.Signer().Public())
}

func (e *entry) publicIs(key crypto.PublicKey) bool {
	return rawkey.Equal(e.Private.Signer().Public(), key)
}
