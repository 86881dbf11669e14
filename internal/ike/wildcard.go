package ike

import (
	"encoding/asn1"
	"slices"
)

// wildcard is the value of an attribute that leaves it open: CN=*.
const wildcard = "*"

// Admits reports whether an identity that the configuration names stands for
// that of a peer: IDNone for anybody, a distinguished name with wildcards
// (C=CH, O=x, CN=*) for all that have the same attributes in the same order,
// everything else for what is Equal to it. Only our own configuration may be on
// the left of it.
func (id ID) Admits(peer ID) bool {
	switch {
	case id.IsZero():
		return true
	case id.Kind == IDDN && peer.Kind == IDDN && id.Wild():
		return admitsDN(id.Data, peer.Data)
	}
	return id.Equal(peer)
}

// Wild reports whether id is a distinguished name with a wildcard in it, so
// that it is nobody's own.
func (id ID) Wild() bool {
	if id.Kind != IDDN {
		return false
	}
	name, err := parseRDNs(id.Data)
	if err != nil {
		return false
	}
	for _, r := range name {
		for _, a := range r {
			if isWildcard(a) {
				return true
			}
		}
	}
	return false
}

func isWildcard(a attribute) bool {
	return textTag(a.Value) && string(a.Value.Bytes) == wildcard
}

func admitsDN(pattern, der string) bool {
	x, errX := parseRDNs(pattern)
	y, errY := parseRDNs(der)
	if errX != nil || errY != nil || len(x) != len(y) {
		return false
	}
	for i := range x {
		if !admitsRDN(x[i], y[i]) {
			return false
		}
	}
	return true
}

// admitsRDN compares two sets: DER sorts their attributes by encoding, so that
// a wildcard may stand elsewhere than what it is for.
func admitsRDN(pattern, r rdn) bool {
	if len(pattern) != len(r) {
		return false
	}
	left := slices.Clone(r)
	for _, p := range pattern {
		i := slices.IndexFunc(left, func(q attribute) bool { return admitsAttribute(p, q) })
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}

func admitsAttribute(p, q attribute) bool {
	if !p.Type.Equal(q.Type) {
		return false
	}
	if isWildcard(p) {
		return q.Value.Class == asn1.ClassUniversal && len(q.Value.Bytes) > 0
	}
	return sameValue(p.Value, q.Value)
}
