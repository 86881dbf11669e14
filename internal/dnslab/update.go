package dnslab

import (
	"slices"

	"github.com/miekg/dns"
)

// UpdateKey may change IPSECKEY records, and nothing else, at its owners: the
// names below them, or they themselves (RFC 2136, RFC 8945).
type UpdateKey struct {
	Secret string // base64
	Owners []string
}

// update carries out a dynamic update, or refuses all of it.
func (s *Server) update(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg).SetReply(r)
	m.Rcode = s.change(w, r)
	if t := r.IsTsig(); t != nil && w.TsigStatus() == nil {
		m.SetTsig(t.Hdr.Name, t.Algorithm, 300, s.opts.Now().Unix())
	}
	_ = w.WriteMsg(m)
}

func (s *Server) change(w dns.ResponseWriter, r *dns.Msg) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := r.IsTsig()
	if t == nil || w.TsigStatus() != nil {
		return dns.RcodeNotAuth
	}
	key, z := s.opts.Updates[dns.CanonicalName(t.Hdr.Name)], s.zones[dns.CanonicalName(r.Question[0].Name)]
	if z == nil {
		return dns.RcodeNotZone
	}
	for _, rr := range r.Ns {
		h := rr.Header()
		mine := slices.ContainsFunc(key.Owners, func(o string) bool { return dns.IsSubDomain(o, dns.CanonicalName(h.Name)) })
		if h.Rrtype != dns.TypeIPSECKEY || !mine || !dns.IsSubDomain(z.Name, dns.CanonicalName(h.Name)) {
			return dns.RcodeRefused
		}
	}
	for _, rr := range r.Ns {
		z.changeOne(rr)
	}
	z.sigs = map[string]*dns.RRSIG{}
	return dns.RcodeSuccess
}

// changeOne is RFC 2136, section 2.5: class ANY removes a set, IN adds a record.
func (z *zone) changeOne(rr dns.RR) {
	h := rr.Header()
	name := dns.CanonicalName(h.Name)
	i, there := slices.BinarySearchFunc(z.names, name, compare)
	if h.Class == dns.ClassANY {
		delete(z.sets[name], h.Rrtype)
		if there && len(z.sets[name]) == 0 {
			delete(z.sets, name)
			z.names = slices.Delete(z.names, i, i+1)
		}
		return
	}
	if !there {
		z.names = slices.Insert(z.names, i, name)
	}
	same := func(have dns.RR) bool { return dns.IsDuplicate(have, rr) }
	if !slices.ContainsFunc(z.sets[name][h.Rrtype], same) {
		z.put(rr)
	}
}

// secrets of the update keys, as the library wants them.
func (s *Server) secrets() map[string]string {
	m := map[string]string{}
	for name, k := range s.opts.Updates {
		m[dns.CanonicalName(name)] = k.Secret
	}
	return m
}
