package check

import (
	"fmt"
	"net/netip"
	"slices"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/rawkey"
	"cygnet/internal/suite"
)

// match is one connection as its two gateways describe it.
type match struct{ a, b view }

// matches joins the connections of two gateways, each to at most one: by the
// addresses of both ends, then their nets, then their names.
func matches(a, b *Gateway) []match {
	var list []match
	taken := map[*config.Conn]bool{}
	for _, c := range a.tunnels() {
		var best match
		most := 0
		for _, v := range a.views(c) {
			for _, d := range b.tunnels() {
				if taken[d] {
					continue
				}
				for _, w := range b.views(d) {
					if s := likeness(v, w); s > most {
						best, most = match{v, w}, s
					}
				}
			}
		}
		if most > 0 {
			taken[best.b.Conn] = true
			list = append(list, best)
		}
	}
	return list
}

// likeness says how well v and w, seen from the other end, are one connection;
// 0: they are not.
func likeness(v, w view) int {
	near, far := meet(v.local.Host, w.remote.Host), meet(v.remote.Host, w.local.Host)
	if near < 0 || far < 0 {
		return 0
	}
	nets := sameNets(nets(v.local), nets(w.remote)) && sameNets(nets(v.remote), nets(w.local)) && samePorts(v.local, w.remote) && samePorts(v.remote, w.local)
	named := v.Name == w.Name
	points := near + far + meetIDs(v.local, w.remote) + meetIDs(v.remote, w.local)
	if nets {
		points += 8
	}
	if named {
		points += 4
	}
	if !nets && !named && points < 4 {
		return 0
	}
	return points
}

// meet compares two descriptions of one end: -1 if they are different
// addresses, 2 if the same, 0 if one of them leaves it open.
func meet(a, b config.Host) int {
	switch {
	case a.Kind != config.HostAddr || b.Kind != config.HostAddr:
		return 0
	case a.Addr == b.Addr:
		return 2
	}
	return -1
}

// meetIDs compares two descriptions of one end by its identity: 2 if they agree
// in a name, -1 if they do not, 0 if one of them leaves it open or it is only
// the address.
func meetIDs(a, b *config.End) int {
	p, q := identity(a), identity(b)
	if _, addr := p.Addr(); p.IsZero() || q.IsZero() || addr && p.Equal(q) {
		return 0
	}
	if p.Equal(q) {
		return 2
	}
	return -1
}

// oneStarter finds permanent connections that only one end brings up (R12.16).
func oneStarter(a, b *Gateway, out *found) {
	for _, m := range matches(a, b) {
		starter, other := m.a, m.b
		if starter.Auto != config.AutoStart {
			starter, other = other, starter
		}
		// An end that does not know where the other is cannot start.
		if starter.Auto != config.AutoStart || other.Auto == config.AutoStart || other.remote.Host.Kind == config.HostAny {
			continue
		}
		out.at(at(other.Conn, "auto"), other.Name, fmt.Sprintf("the other end (%s:%d) starts this connection, this one does not", starter.Where.File, starter.Where.Line), "auto=start here too")
	}
}

// disagree compares what both ends must say alike.
func disagree(a, b *Gateway, out *found) {
	for _, m := range matches(a, b) {
		say := func(key, what, mend string) { out.at(at(m.b.Conn, key), m.b.Name, what, mend) }
		there := fmt.Sprintf("%s:%d", m.a.Where.File, m.a.Where.Line)
		v, w := m.a, m.b
		compareNets(v.local, w.remote, w.remoteSide, there, say)
		compareNets(v.remote, w.local, w.localSide, there, say)
		compareIDs(v.local, w.remote, w.remoteSide, there, say)
		compareIDs(v.remote, w.local, w.localSide, there, say)
		switch {
		case v.Type != w.Type:
			say("type", "the type is another than at "+there, "the same type= on both ends")
		case v.Version != w.Version:
			say("keyexchange", fmt.Sprintf("IKEv%d here, IKEv%d at %s", w.Version, v.Version, there), "the same keyexchange= on both ends")
		case !authAgrees(v.local, w.remote) || !authAgrees(v.remote, w.local):
			say("authby", "the ends prove who they are in another way than "+there+" expects", "the same authby= on both ends")
		}
		compareSuites(v, w, there, say)
	}
}

func compareNets(theirs, ours *config.End, side, there string, say func(key, what, mend string)) {
	p, q := nets(theirs), nets(ours)
	if len(p) == 0 || len(q) == 0 || sameNets(p, q) && samePorts(theirs, ours) {
		return
	}
	key := side + "subnet"
	say(key, fmt.Sprintf("%s is %s here, but %s at %s", key, joinNets(q), joinNets(p), there), "the same nets and ports on both ends")
}

func compareIDs(theirs, ours *config.End, side, there string, say func(key, what, mend string)) {
	p, q := identity(theirs), identity(ours)
	if p.IsZero() || q.IsZero() || p.Equal(q) {
		return
	}
	key := side + "id"
	say(key, fmt.Sprintf("%s is %s here, but calls itself %s at %s", side, q, p, there), fmt.Sprintf("%s=%s", key, p))
}

// authAgrees reports whether two descriptions of one end have a method in
// common.
func authAgrees(a, b *config.End) bool {
	return slices.ContainsFunc(a.Auth, func(m ike.AuthMethod) bool { return uses(b, m) })
}

func compareSuites(v, w view, there string, say func(key, what, mend string)) {
	if manual(v.Conn) || manual(w.Conn) {
		return
	}
	for _, s := range []struct {
		key    string
		ours   []suite.Proposal
		theirs []suite.Proposal
	}{
		{"ike", orDefault(w.IKE.List, suite.DefaultIKE()), orDefault(v.IKE.List, suite.DefaultIKE())},
		{"esp", orDefault(w.ESP.List, suite.DefaultESP(false)), orDefault(v.ESP.List, suite.DefaultESP(false))},
	} {
		var offers []suite.Offer
		ours := slices.Clone(s.ours)
		for i, p := range s.theirs {
			offers = append(offers, p.Offer(uint8(i+1), nil))
		}
		if s.key == "esp" { // PFS is agreed on with the group of the IKE SA
			for i := range offers {
				offers[i] = offers[i].WithoutKE()
			}
			for i := range ours {
				ours[i] = ours[i].WithoutKE()
			}
		}
		if _, _, err := suite.Select(ours, offers); err != nil {
			say(s.key, fmt.Sprintf("%s= has nothing in common with %s: %v", s.key, there, err), "the same "+s.key+"= on both ends, or none")
		}
	}
}

func orDefault(list, def []suite.Proposal) []suite.Proposal {
	if len(list) > 0 {
		return list
	}
	return def
}

// unmatched finds connections between the two gateways that only one describes.
func unmatched(a, b *Gateway, out *found) {
	list := matches(a, b)
	if len(list) == 0 {
		if out.of == 2 && len(a.tunnels()) > 0 && len(b.tunnels()) > 0 {
			out.at(config.Pos{File: b.Conf.Name}, "", fmt.Sprintf("no connection here is one of %s seen from the other end", a.Conf.Name), "")
		}
		return
	}
	known := map[*config.Conn]bool{}
	addrs := map[[2]netip.Addr]bool{} // that the two are known to join
	for _, m := range list {
		known[m.a.Conn], known[m.b.Conn] = true, true
		for _, v := range []view{m.a, m.b} {
			if h, ok := hostsOf(v.Conn); ok {
				addrs[h] = true
			}
		}
	}
	for _, g := range []*Gateway{a, b} {
		other := a.Conf.Name
		if g == a {
			other = b.Conf.Name
		}
		for _, c := range g.tunnels() {
			if h, ok := hostsOf(c); ok && addrs[h] && !known[c] {
				out.at(c.Where, c.Name, "has no counterpart in "+other, "the same connection there")
			}
		}
	}
}

// differentKeys compares what each end proves itself with to what the other
// one holds. Nothing of a secret is told.
func differentKeys(a, b *Gateway, out *found) {
	list := matches(a, b)
	// In a file that several gateways have alike, some connections may be of
	// others than these two: who lacks the secret of one cannot be told.
	alike := map[hosts]bool{}
	for _, m := range list {
		if h, ok := hostsOf(m.a.Conn); ok {
			alike[h] = true
		}
	}
	for _, m := range list {
		if pskConn(m.a.Conn) && pskConn(m.b.Conn) {
			p, q := a.secretFor(m.a), b.secretFor(m.b)
			switch {
			case p != nil && q != nil && !p.PSK.Equal(q.PSK):
				out.at(q.Where, m.b.Name, fmt.Sprintf("the secret is another than at %s:%d", p.Where.File, p.Where.Line), "the same line on both gateways")
			case len(alike) > 1:
			case p == nil && q != nil:
				out.at(at(m.a.Conn, "authby"), m.a.Name, "there is no secret for it, as the other end has", fmt.Sprintf("the line of %s:%d here too", q.Where.File, q.Where.Line))
			case p != nil && q == nil:
				out.at(at(m.b.Conn, "authby"), m.b.Name, "there is no secret for it, as the other end has", fmt.Sprintf("the line of %s:%d here too", p.Where.File, p.Where.Line))
			}
		}
		compareKeys(m.a.local, m.b.remote, m.b, m.b.remoteSide, m.a.Where, out)
		compareKeys(m.a.remote, m.b.local, m.b, m.b.localSide, m.a.Where, out)
	}
}

func compareKeys(theirs, ours *config.End, w view, side string, there config.Pos, out *found) {
	p, q := theirs.Given(), ours.Given()
	if len(p) > 0 && len(q) > 0 && !shareKey(p, q) {
		key := side + "rsasigkey"
		out.at(at(w.Conn, key), w.Name, fmt.Sprintf("the key of %s is another than at %s:%d", side, there.File, there.Line), "what ipsec showhostkey prints on that gateway")
	}
}

// shareKey reports whether two lists have a key in common.
func shareKey(a, b []ike.PublicKey) bool {
	return slices.ContainsFunc(a, func(k ike.PublicKey) bool {
		return slices.ContainsFunc(b, func(l ike.PublicKey) bool { return rawkey.Equal(k.Key, l.Key) })
	})
}
