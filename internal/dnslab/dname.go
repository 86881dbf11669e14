package dnslab

import (
	"strings"

	"github.com/miekg/dns"
)

// redirect answers for a name below a DNAME: with that, and with the CNAME that is
// made of it (RFC 6672, section 3.2). It returns where that points, or nothing if
// there is no DNAME. One at a wildcard is expanded at the name below the closest
// encloser, as some servers do although RFC 4592, section 4.4, leaves it open.
func (s *Server) redirect(m *reply, z *zone, name string) string {
	owner, set := z.dname(name)
	if set == nil {
		return ""
	}
	made := s.signed(z, set)
	if set[0].Header().Name != owner {
		for i, rr := range made {
			made[i] = dns.Copy(rr)
			made[i].Header().Name = owner
		}
		m.Ns = append(m.Ns, s.gap(z, owner)...)
	}
	target := set[0].(*dns.DNAME).Target
	to := dns.CanonicalName(strings.TrimSuffix(name, owner) + strings.TrimPrefix(target, "."))
	m.Answer = append(append(m.Answer, made...), &dns.CNAME{Hdr: head(name, dns.TypeCNAME), Target: to})
	return to
}

// dname is the DNAME that redirects a name, and the owner it has in the answer.
func (z *zone) dname(name string) (owner string, set []dns.RR) {
	labels := dns.SplitDomainName(name)
	for i := len(labels) - dns.CountLabel(z.Name); i > 0; i-- { // from the apex down, but not name itself
		owner = dns.Fqdn(strings.Join(labels[i:], "."))
		if set := z.sets[owner][dns.TypeDNAME]; set != nil {
			return owner, set
		}
		if z.sets[owner] == nil && !z.encloses(owner) {
			return owner, z.sets[below("*", z.encloser(owner))][dns.TypeDNAME]
		}
	}
	return "", nil
}
