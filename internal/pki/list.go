package pki

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Entry is one certificate of a store, for people to look at. Its texts are
// printable ASCII.
type Entry struct {
	Name            string // of ends, as leftcert= has it
	Subject, Issuer string
	Names           string
	Serial          string // hexadecimal
	Key             string // like RSA 2048 bits
	From, Until     time.Time
	State           string // ok, expired, not yet valid, revoked
}

// Ends lists the end entities by name.
func (s *Store) Ends(now time.Time) []Entry {
	var list []Entry
	for _, name := range s.names {
		e := s.entry(now, s.ends[name])
		e.Name = printable(name)
		list = append(list, e)
	}
	return list
}

// CAs lists the trusted authorities in the order of their files, then those
// between.
func (s *Store) CAs(now time.Time) []Entry {
	var list []Entry
	for _, c := range s.cas {
		list = append(list, s.entry(now, c))
	}
	for _, c := range s.middle {
		if !contains(s.cas, c) {
			list = append(list, s.entry(now, c))
		}
	}
	return list
}

func (s *Store) entry(now time.Time, c *x509.Certificate) Entry {
	e := Entry{Subject: nameOf(c.RawSubject), Issuer: nameOf(c.RawIssuer), Names: NamesOf(c), Serial: fmt.Sprintf("%x", c.SerialNumber),
		Key: keyText(c), From: c.NotBefore, Until: c.NotAfter, State: "ok"}
	chain := [][]byte{c.Raw}
	for _, ca := range s.ownChain(c)[1:] {
		chain = append(chain, ca.Raw)
	}
	switch {
	case s.Revoked(now, chain) != "":
		e.State = "revoked"
	case now.After(c.NotAfter):
		e.State = "expired"
	case now.Before(c.NotBefore):
		e.State = "not yet valid"
	}
	return e
}

func keyText(c *x509.Certificate) string {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d bits", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return "of an unknown kind"
}

// ListEntry is one CRL of a store, for people to look at.
type ListEntry struct {
	Issuer     string
	Revoked    int
	From, Next time.Time // Next is zero where the list does not say
	Fetched    bool
	State      string // ok, expired, unverified
}

// CRLs lists the CRLs by issuer, the newest first.
func (s *Store) CRLs(now time.Time) []ListEntry {
	var list []ListEntry
	for _, key := range slices.Sorted(maps.Keys(s.crls)) {
		for _, c := range s.crls[key] {
			e := ListEntry{Issuer: nameOf(c.list.RawIssuer), Revoked: len(c.serials), From: c.list.ThisUpdate, Next: c.list.NextUpdate, Fetched: c.fetched, State: "ok"}
			switch {
			case c.by == nil:
				e.State = "unverified: no CA here has signed it"
			case !e.Next.IsZero() && now.After(e.Next):
				e.State = "expired"
			}
			list = append(list, e)
		}
	}
	return list
}
