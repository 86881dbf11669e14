package dnslab

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// signature of a set, made once for as long as it holds. The owner is that of
// the records; for an answer from a wildcard it is the wildcard's.
func (s *Server) signature(z *zone, set []dns.RR) *dns.RRSIG {
	h := set[0].Header()
	id := fmt.Sprintf("%s %d", h.Name, h.Rrtype)
	now := s.opts.Now()
	if sig := z.sigs[id]; sig != nil && sig.ValidityPeriod(now) {
		return sig
	}
	from, to := now.Add(-time.Hour), now.Add(s.opts.Life)
	if z.Fault == Expired {
		from, to = now.Add(-30*24*time.Hour), now.Add(-48*time.Hour)
	}
	sig := &dns.RRSIG{
		Hdr: head(h.Name, dns.TypeRRSIG), Algorithm: z.key.Algorithm, KeyTag: z.key.KeyTag(), SignerName: z.Name,
		Inception: uint32(from.Unix()), Expiration: uint32(to.Unix()),
	}
	sig.Hdr.Ttl = h.Ttl
	if err := sig.Sign(z.signer, set); err != nil {
		panic(fmt.Sprintf("sign %s: %v", id, err)) // our key, our records
	}
	if z.Dynamic == nil {
		z.sigs[id] = sig
	}
	return sig
}

// signed is a set with its signature, as the zone's fault has it.
func (s *Server) signed(z *zone, set []dns.RR) []dns.RR {
	if z.Unsigned || z.Fault == Stripped {
		return set
	}
	sig := s.signature(z, set)
	if z.Fault == Altered {
		set = altered(set)
	}
	return append(slices.Clone(set), sig)
}

// altered changes keys the way a forger would.
func altered(set []dns.RR) []dns.RR {
	var out []dns.RR
	for _, rr := range set {
		rr = dns.Copy(rr)
		switch r := rr.(type) {
		case *dns.IPSECKEY:
			r.PublicKey = "AAAA" + r.PublicKey[4:]
		case *dns.TXT:
			r.Txt[len(r.Txt)-1] = "AAAA" + r.Txt[len(r.Txt)-1]
		}
		out = append(out, rr)
	}
	return out
}

// types of a name, for a proof.
func (z *zone) types(name string) []uint16 {
	types := []uint16{}
	for t := range z.sets[name] {
		types = append(types, t)
	}
	if delegated := name != z.Name && z.sets[name][dns.TypeNS] != nil; !delegated || z.sets[name][dns.TypeDS] != nil {
		types = append(types, dns.TypeRRSIG)
	}
	return types
}

// proof makes the NSEC or NSEC3 record that matches name, or the one that
// covers it if there is no such name.
func (s *Server) proof(z *zone, name string) []dns.RR {
	if z.Unsigned || z.Fault == Stripped {
		return nil
	}
	if z.NSEC3 {
		return s.signed(z, []dns.RR{z.nsec3(name)})
	}
	i, found := slices.BinarySearchFunc(z.names, name, compare)
	if !found {
		i-- // never below 0: the apex comes first
	}
	types := append(z.types(z.names[i]), dns.TypeNSEC)
	if !slices.Contains(types, dns.TypeRRSIG) {
		types = append(types, dns.TypeRRSIG)
	}
	slices.Sort(types)
	return s.signed(z, []dns.RR{&dns.NSEC{Hdr: head(z.names[i], dns.TypeNSEC), NextDomain: z.names[(i+1)%len(z.names)], TypeBitMap: types}})
}

// nsec3 is the record of RFC 5155 for a name, without salt or iterations, as
// RFC 9276 advises.
func (z *zone) nsec3(name string) dns.RR {
	hashes := map[string]string{} // hash -> name; names of empty non-terminals are in it as well
	for _, n := range z.names {
		for dns.IsSubDomain(z.Name, n) {
			hashes[dns.HashName(n, dns.SHA1, 0, "")] = n
			if n == z.Name {
				break
			}
			_, n, _ = strings.Cut(n, ".")
		}
	}
	var chain []string
	for h := range hashes {
		chain = append(chain, h)
	}
	slices.Sort(chain)
	i, found := slices.BinarySearch(chain, dns.HashName(name, dns.SHA1, 0, ""))
	if !found {
		i = (i + len(chain) - 1) % len(chain)
	}
	types := z.types(hashes[chain[i]])
	if len(z.sets[hashes[chain[i]]]) == 0 {
		types = nil
	}
	slices.Sort(types)
	return &dns.NSEC3{
		Hdr: head(below(strings.ToLower(chain[i]), z.Name), dns.TypeNSEC3), Hash: dns.SHA1, HashLength: 20,
		NextDomain: chain[(i+1)%len(chain)], TypeBitMap: types,
	}
}
