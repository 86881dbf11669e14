package dnslab

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Listen serves at an address, by UDP and TCP, until Close. Port 0 is any free
// one. It returns where.
func (s *Server) Listen(addr string) (string, error) {
	var udp net.PacketConn
	var tcp net.Listener
	var lc net.ListenConfig
	for try := 0; ; try++ { // both must have the same port
		var err error
		if udp, err = lc.ListenPacket(context.Background(), "udp", addr); err != nil {
			return "", err
		}
		if tcp, err = lc.Listen(context.Background(), "tcp", udp.LocalAddr().String()); err == nil {
			break
		}
		_ = udp.Close()
		if _, port, _ := net.SplitHostPort(addr); port != "0" || try == 10 {
			return "", err
		}
	}
	for _, srv := range []*dns.Server{{PacketConn: udp}, {Listener: tcp}} {
		srv.Handler, srv.TsigSecret, srv.MsgAcceptFunc = s, s.secrets(), acceptUpdates
		ready := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(ready) }
		s.open = append(s.open, srv)
		go func() { _ = srv.ActivateAndServe() }() // ends with Close
		<-ready
	}
	return udp.LocalAddr().String(), nil
}

// Close stops serving.
func (s *Server) Close() {
	for _, srv := range s.open {
		_ = srv.Shutdown()
	}
	s.open = nil
}

// acceptUpdates lets updates through, which the library leaves out.
func acceptUpdates(h dns.Header) dns.MsgAcceptAction {
	if opcode := int(h.Bits>>11) & 0xf; opcode == dns.OpcodeUpdate {
		return dns.MsgAccept
	}
	return dns.DefaultMsgAcceptFunc(h)
}

// ServeDNS implements dns.Handler.
func (s *Server) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	if len(r.Question) != 1 {
		return
	}
	if r.Opcode == dns.OpcodeUpdate {
		s.update(w, r)
		return
	}
	m, delay := s.answer(r)
	if m == nil {
		return
	}
	if delay > 0 {
		time.Sleep(delay) // a slow server is slow in real time
	}
	size := dns.MinMsgSize
	if o := r.IsEdns0(); o != nil {
		size = int(o.UDPSize())
		if m.IsEdns0() == nil {
			m.SetEdns0(dns.DefaultMsgSize, o.Do())
		}
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		m.Truncate(size)
	}
	_ = w.WriteMsg(m)
}

// reply is an answer in the making.
type reply struct {
	*dns.Msg
	state Fault // of the worst zone that took part
	lower bool  // an unsigned zone took part
}

func (s *Server) answer(r *dns.Msg) (*dns.Msg, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.Question[0]
	q.Name = dns.CanonicalName(q.Name)
	s.queries[q]++
	if s.opts.Asked != nil {
		s.opts.Asked(q.Name, q.Qtype)
	}
	m := &reply{Msg: new(dns.Msg)}
	m.SetReply(r)
	m.RecursionAvailable = true
	delay, ok := s.resolve(m, q.Name, q.Qtype)
	if !ok {
		return nil, 0
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		m.Answer, m.Ns = nil, nil
		return m.Msg, delay
	}
	if s.opts.Validates {
		s.validate(m, r.CheckingDisabled)
	}
	if o := r.IsEdns0(); o == nil || !o.Do() {
		m.Answer, m.Ns = plain(m.Answer, q.Qtype), plain(m.Ns, q.Qtype)
	}
	return m.Msg, delay
}

// plain leaves out what only those who check want.
func plain(rrs []dns.RR, asked uint16) []dns.RR {
	return slices.DeleteFunc(rrs, func(rr dns.RR) bool {
		t := rr.Header().Rrtype
		return t != asked && (t == dns.TypeRRSIG || t == dns.TypeNSEC || t == dns.TypeNSEC3)
	})
}

// validate speaks like a resolver that has checked the answer: the faults are
// known here, so nothing has to be computed.
func (s *Server) validate(m *reply, unchecked bool) {
	if unchecked {
		return
	}
	reason := map[Fault]uint16{
		WrongDS: dns.ExtendedErrorCodeDNSKEYMissing, Altered: dns.ExtendedErrorCodeDNSBogus,
		Expired: dns.ExtendedErrorCodeSignatureExpired, Stripped: dns.ExtendedErrorCodeDNSKEYMissing,
	}[m.state]
	if reason == 0 {
		m.AuthenticatedData = !m.lower
		return
	}
	m.Rcode, m.Answer, m.Ns = dns.RcodeServerFailure, nil, nil
	if !s.opts.NoReasons {
		m.SetEdns0(dns.DefaultMsgSize, true)
		o := m.IsEdns0()
		o.Option = append(o.Option, &dns.EDNS0_EDE{InfoCode: reason, ExtraText: "made in the lab"})
	}
}

// zoneOf is the zone that answers: the deepest one, or for a DS the one above.
func (s *Server) zoneOf(name string, rrtype uint16) *zone {
	if z := s.zones[name]; z != nil && (rrtype != dns.TypeDS || name == ".") {
		return z
	}
	return s.parent(name)
}

// took notes what the zones from z up to the root mean for who validates.
func (s *Server) took(m *reply, z *zone, rrtype uint16) {
	for ; z != nil; z = s.parent(z.Name) {
		m.lower = m.lower || z.Unsigned
		if z.Fault == Altered && rrtype != dns.TypeIPSECKEY && rrtype != dns.TypeTXT {
			continue
		}
		m.state = max(m.state, z.Fault)
	}
}

// resolve answers for a name, and goes on where a CNAME points.
func (s *Server) resolve(m *reply, name string, rrtype uint16) (delay time.Duration, ok bool) {
	for range 10 {
		z := s.zoneOf(name, rrtype)
		s.took(m, z, rrtype)
		switch z.Fault {
		case Silent:
			return 0, false
		case ServFail:
			m.Rcode = dns.RcodeServerFailure
			return 0, true
		}
		var next string
		if z.Dynamic != nil && name != z.Name {
			var d time.Duration
			next, d, ok = s.dynamic(m, z, name, rrtype)
			if delay += d; !ok || next == "" {
				return delay, ok
			}
		} else if next = s.static(m, z, name, rrtype); next == "" {
			return delay, true
		}
		name = next
	}
	return delay, true
}

// static answers from a zone's text. It returns where a CNAME points.
func (s *Server) static(m *reply, z *zone, name string, rrtype uint16) (next string) {
	if to := s.redirect(m, z, name); to != "" {
		return to
	}
	owner, sets := name, z.sets[name]
	if sets == nil && !z.encloses(name) {
		encloser := z.encloser(name)
		owner = below("*", encloser)
		if sets = z.sets[owner]; sets == nil && !z.encloses(owner) {
			m.Rcode = dns.RcodeNameError
			s.deny(m, z, name, encloser)
			return ""
		}
	}
	set, link := sets[rrtype], false
	if len(set) == 0 {
		set, link = sets[dns.TypeCNAME], true
	}
	if len(set) == 0 {
		s.deny(m, z, owner, "")
		if owner != name {
			m.Ns = append(m.Ns, s.gap(z, name)...)
			if z.NSEC3 { // RFC 5155, section 7.2.5
				m.Ns = append(m.Ns, s.proof(z, z.encloser(name))...)
			}
		}
		return ""
	}
	made := s.signed(z, set)
	if owner != name {
		for i, rr := range made {
			made[i] = dns.Copy(rr)
			made[i].Header().Name = name
		}
		m.Ns = append(m.Ns, s.gap(z, name)...)
	}
	m.Answer = append(m.Answer, made...)
	if link {
		return dns.CanonicalName(set[0].(*dns.CNAME).Target)
	}
	return ""
}

// encloses reports whether something is below name although nothing is at it.
func (z *zone) encloses(name string) bool {
	return slices.ContainsFunc(z.names, func(n string) bool { return dns.IsSubDomain(name, n) })
}

// encloser is the closest name above that exists.
func (z *zone) encloser(name string) string {
	for {
		_, name, _ = strings.Cut(name, ".")
		if name == "" {
			name = "."
		}
		if name == z.Name || z.sets[name] != nil || z.encloses(name) {
			return name
		}
	}
}

// gap proves that nothing is closer to name than its encloser. NSEC needs the
// record around the name itself, NSEC3 that around the next closer name.
func (s *Server) gap(z *zone, name string) []dns.RR {
	encloser := z.encloser(name)
	labels := dns.SplitDomainName(name)
	next := dns.Fqdn(strings.Join(labels[len(labels)-dns.CountLabel(encloser)-1:], "."))
	return s.proof(z, next)
}

// deny adds the SOA and the proofs that there is no record at name; encloser is
// set if there is not even the name.
func (s *Server) deny(m *reply, z *zone, name, encloser string) {
	m.Ns = append(m.Ns, s.signed(z, z.sets[z.Name][dns.TypeSOA])...)
	add := func(rrs []dns.RR) {
		for _, rr := range rrs {
			if !slices.ContainsFunc(m.Ns, func(have dns.RR) bool { return dns.IsDuplicate(have, rr) }) {
				m.Ns = append(m.Ns, rr)
			}
		}
	}
	if encloser == "" {
		add(s.proof(z, name))
		return
	}
	if z.NSEC3 {
		add(s.proof(z, encloser))
		add(s.gap(z, name))
	} else {
		add(s.proof(z, name))
	}
	add(s.proof(z, below("*", encloser)))
}

// dynamic answers from a zone's function.
func (s *Server) dynamic(m *reply, z *zone, name string, rrtype uint16) (next string, delay time.Duration, ok bool) {
	said := z.Dynamic(name, rrtype)
	switch {
	case said.Drop:
		return "", 0, false
	case said.RCode != 0:
		m.Rcode = said.RCode
		return "", said.Delay, true
	case len(said.Set) > 0:
		m.Answer = append(m.Answer, s.signed(z, said.Set)...)
		if c, link := said.Set[0].(*dns.CNAME); link && !said.Lonely && rrtype != dns.TypeCNAME {
			next = dns.CanonicalName(c.Target)
		}
		return next, said.Delay, true
	}
	// RFC 9824: the name exists with nothing but these types, and nothing is
	// between it and its first descendant.
	types := append(slices.Clone(said.Types), dns.TypeRRSIG, dns.TypeNSEC)
	slices.Sort(types)
	m.Ns = append(m.Ns, s.signed(z, z.sets[z.Name][dns.TypeSOA])...)
	m.Ns = append(m.Ns, s.signed(z, []dns.RR{&dns.NSEC{Hdr: head(name, dns.TypeNSEC), NextDomain: `\000.` + name, TypeBitMap: types}})...)
	return "", said.Delay, true
}

// IPSECKEY is a record of raw RDATA, well formed or not.
func IPSECKEY(name string, ttl uint32, rdata []byte) dns.RR {
	h := head(dns.CanonicalName(name), dns.TypeIPSECKEY)
	h.Ttl, h.Rdlength = ttl, uint16(len(rdata))
	return &dns.RFC3597{Hdr: h, Rdata: fmt.Sprintf("%x", rdata)}
}
