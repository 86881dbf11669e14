package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/rawkey"
	"cygnet/internal/suite"
)

// maxLife is the longest life of any SA (freeswan.md 8.2).
const maxLife = 24 * time.Hour

// weakRSA is what FreeS/WAN itself made by default, or nearly: keys below are
// accepted only with legacy=freeswan (freeswan.md V6).
const weakRSA = 2048

// checker fills in what depends on several parameters, and makes the load-time
// checks of freeswan.md 2.9.
type checker struct {
	*Conn
	setup    *Setup
	infos    map[string]Info
	warnings []*Problem
}

// problem is about the parameter that id names, or about the whole connection
// where it was not given.
func (k *checker) problem(id, text, mend string) *Problem {
	at := k.Keys[id]
	if at.File == "" { // absent, or from a built-in connection
		at = k.Where
	}
	return problemAt(at, id, text, mend)
}

func (k *checker) warn(id, text, mend string) {
	k.warnings = append(k.warnings, k.problem(id, text, mend))
}

// warnOf is warn about what a rule of `ipsec check` is about too.
func (k *checker) warnOf(rule, id, text, mend string) {
	k.warnings = append(k.warnings, k.problem(id, text, mend).ofRule(rule))
}

func (k *checker) given(id string) bool { _, ok := k.Keys[id]; return ok }

// finish runs all checks; the first failure counts.
func (k *checker) finish() *Problem {
	k.families()
	for _, check := range []func() *Problem{
		k.hosts, k.subnets, k.shunts, k.manual, k.legacy, k.virtual, k.lives, k.proposals, k.tcp, k.certificates, k.keys, k.protocols, k.opportunistic,
	} {
		if p := check(); p != nil {
			return p
		}
	}
	for _, e := range []*End{&k.Left, &k.Right} {
		if len(e.Auth) == 0 {
			e.Auth = k.AuthBy
		}
	}
	return k.authentication()
}

// side is one end with its name.
type side struct {
	name string
	*End
	other *End
}

func (k *checker) sides() [2]side {
	return [2]side{{"left", &k.Left, &k.Right}, {"right", &k.Right, &k.Left}}
}

// families settles which family %any is of: as hostaddrfamily= says, else as
// the other end's address.
func (k *checker) families() {
	for _, s := range k.sides() {
		if s.Host.Kind != HostAny || s.Host.Addr.IsValid() {
			continue
		}
		if k.Family == 6 || k.Family == 0 && s.other.Host.Addr.Is6() {
			s.Host.Addr = netip.IPv6Unspecified()
		}
	}
}

func (k *checker) hosts() *Problem {
	for _, s := range k.sides() {
		if s.Host.Kind == HostUnset {
			return k.problem(s.name, fmt.Sprintf("connection has no %q parameter", s.name), fmt.Sprintf("give %s= an address", s.name))
		}
		if s.Host.Kind == HostDefaultRoute && s.NextHop.Kind != HostUnset && s.NextHop.Kind != HostDefaultRoute {
			return k.problem(s.name+"nexthop", fmt.Sprintf("non-default value of %snexthop is being overridden", s.name), fmt.Sprintf("leave it out, %s=%%defaultroute knows it", s.name))
		}
		if s.NextHop.Kind == HostAddr && s.NextHop.Addr == s.Host.Addr {
			return k.problem(s.name+"nexthop", fmt.Sprintf("%snexthop must not be the same as %s", s.name, s.name), "it is the first router on the way, or %direct")
		}
	}
	l, r := k.Left.Host, k.Right.Host
	switch {
	case l.Kind == r.Kind && l.Kind == HostDefaultRoute:
		return k.problem("right", "both left and right are %defaultroute", "one of them is the peer")
	case l.Kind != HostAddr && l.Kind != HostName && r.Kind != HostAddr && r.Kind != HostName && l.Kind != HostDefaultRoute && r.Kind != HostDefaultRoute:
		return k.problem("right", "neither left nor right is an address of ours", "give one of them an address or %defaultroute")
	case l.Kind == HostAddr && l == r:
		return k.problem("right", fmt.Sprintf("left and right are both %s", l.Addr), "one of them is the peer")
	case l.Addr.IsValid() && r.Addr.IsValid() && l.Addr.Is4() != r.Addr.Is4():
		return k.problem("right", "left and right are of different address families", "")
	}
	return nil
}

func (k *checker) subnets() *Problem {
	for _, s := range k.sides() {
		client := len(s.Subnets)+len(s.sets) > 0
		if k.Type == TypeTransport && client {
			return k.problem(s.name+"subnet", fmt.Sprintf("type=transport incompatible with %ssubnet", s.name), "leave the subnet out or use type=tunnel")
		}
		if len(s.Subnets) > 0 && len(s.sets) > 0 {
			return k.problem(s.name+"subnets", fmt.Sprintf("both %ssubnet and %ssubnets are given", s.name, s.name), "")
		}
		if s.Firewall && len(s.Updown) > 0 {
			return k.problem(s.name+"updown", fmt.Sprintf("cannot have both %sfirewall and %supdown", s.name, s.name), "")
		}
	}
	l, r := k.Left.nets(), k.Right.nets()
	if len(l) == 0 || len(r) == 0 {
		return nil
	}
	for _, p := range l {
		for _, q := range r {
			if p.Addr().Is4() == q.Addr().Is4() {
				return nil
			}
		}
	}
	return k.problem("rightsubnet", "the subnets of left and right have no address family in common", "")
}

// nets lists what an end protects, as far as it is known now.
func (e *End) nets() []netip.Prefix {
	switch {
	case len(e.Subnets) > 0:
		return e.Subnets
	case len(e.sets) > 0:
		return e.sets
	case e.Host.Kind == HostAddr:
		return []netip.Prefix{netip.PrefixFrom(e.Host.Addr, e.Host.Addr.BitLen())}
	}
	return nil
}

func (k *checker) shunts() *Problem {
	never := len(k.AuthBy) == 1 && k.AuthBy[0] == ike.AuthNever
	if _, shunt := k.Shunt(); never && !shunt {
		return k.problem("authby", "authby=never is for type=passthrough, drop or reject only", "")
	}
	return nil
}

func (k *checker) lives() *Problem {
	if !k.given("ikelifetime") && k.Version == 1 {
		k.IKELifetime = time.Hour // freeswan.md part 7
	}
	if k.RekeyMargin > maxLife || k.RekeyFuzz > 10000 {
		return k.problem("rekeymargin", fmt.Sprintf("rekeymargin and rekeyfuzz must be less than %d seconds and 10000%%", int(maxLife.Seconds())), "")
	}
	window := k.RekeyMargin + k.RekeyMargin/100*time.Duration(k.RekeyFuzz)
	for _, l := range []struct {
		id   string
		life time.Duration
	}{{"keylife", k.KeyLife}, {"ikelifetime", k.IKELifetime}} {
		switch {
		case l.life > maxLife:
			return k.problem(l.id, fmt.Sprintf("%s must be less than %d seconds", l.id, int(maxLife.Seconds())), "")
		case l.life <= 0:
			return k.problem(l.id, l.id+" must not be 0", "")
		case k.Rekey && l.life <= window && k.negotiates():
			return k.problem(l.id, fmt.Sprintf("%s of %s is not longer than rekeymargin*(100+rekeyfuzz)/100, which is %s", l.id, spanText(l.life), spanText(window)), "lower rekeymargin, or write rekey=no")
		}
	}
	if k.DPDDelay > maxLife {
		return k.problem("dpddelay", fmt.Sprintf("dpddelay must be less than %d seconds", int(maxLife.Seconds())), "0 switches it off")
	}
	return nil
}

// negotiates reports whether the connection is for IKE.
func (k *checker) negotiates() bool {
	_, shunt := k.Shunt()
	return !shunt && (!k.manuallyKeyed() || k.Auto != AutoManual && k.Auto != AutoIgnore)
}

// legacy=freeswan means the peer that spoke it, which had IKEv1 only (V4).
func (k *checker) legacy() *Problem {
	switch {
	case !k.Legacy:
		return nil
	case !k.setup.AllowLegacy:
		return k.problem("legacy", "legacy=freeswan is forbidden by allow-legacy=no in config setup", "")
	case !k.given("keyexchange"):
		k.Version = 1
	}
	return nil
}

func (k *checker) proposals() *Problem {
	if p := k.parseProposals("ike", &k.IKE, suite.ParseIKE); p != nil {
		return p
	}
	if p := k.phase2Proposals(); p != nil {
		return p
	}
	if p := k.additionalKE(); p != nil {
		return p
	}
	if k.PFSGroup != "" && suite.KEByName(k.PFSGroup) == nil {
		return k.problem("pfsgroup", fmt.Sprintf("unknown group %q", k.PFSGroup), "")
	}
	return k.obsolete()
}

func (k *checker) parseProposals(id string, p *Proposals, parse func(string) ([]suite.Proposal, error)) *Problem {
	if p.Text == "" {
		return nil
	}
	list, err := parse(p.Text)
	if err != nil {
		return k.problem(id, err.Error(), "")
	}
	p.List = list
	return nil
}

// obsolete collects what is named here and out of use. Naming is consent, with
// one warning, unless allow-legacy=no.
func (k *checker) obsolete() *Problem {
	lists := slices.Concat(k.IKE.List, k.ESP.List, k.AH.List)
	if k.Legacy && k.IKE.Text == "" {
		lists = append(lists, suite.FreeSWANIKE()...)
	}
	if k.Legacy && k.ESP.Text == "" && k.Phase2 != Phase2AH {
		lists = append(lists, suite.FreeSWANESP(k.PFS)...)
	}
	if k.Legacy && len(k.AH.List) == 0 && k.Phase2 != Phase2ESP {
		lists = append(lists, suite.FreeSWANAH(k.PFS)...)
	}
	seen := make(map[string]bool)
	var names []string
	for _, p := range lists {
		for _, line := range p.Obsolete() {
			if seen[line] {
				continue
			}
			seen[line] = true
			k.Obsolete = append(k.Obsolete, line)
			name, _, _ := strings.Cut(line, ":")
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	id := "esp"
	for _, given := range []string{"ah", "esp", "ike"} {
		if k.given(given) {
			id = given
		}
	}
	text := "obsolete algorithms: " + strings.Join(names, ", ")
	if !k.setup.AllowLegacy {
		return k.problem(id, text+" are forbidden by allow-legacy=no in config setup", "leave ike= and esp= out for good ones")
	}
	mend := "leave ike= and esp= out for good ones"
	if k.manuallyKeyed() {
		mend = ""
	}
	k.warnOf("FW101", id, text, mend)
	return nil
}

func (k *checker) keys() *Problem {
	for _, s := range k.sides() {
		for _, key := range s.Keys {
			if key.Kind != KeyGiven {
				continue
			}
			if s.ID.Kind == IdentityAny {
				return k.problem(s.name+"id", `ID "%any" cannot have RSA key`, "name the owner of the key")
			}
			if n := rsaBits(key); n > 0 && n < weakRSA && !k.Legacy {
				return problemAt(key.Where, s.name+"rsasigkey", fmt.Sprintf("RSA key %s of %d bits is shorter than %d", rawkey.KeyID(key.Public), n, weakRSA), "make a longer one; legacy=freeswan accepts it")
			}
		}
	}
	if k.needsKey() && !k.known(&k.Left, &k.Right) && !k.known(&k.Right, &k.Left) {
		k.warn("authby", "no public key is given for either end, and none is looked up in the DNS", "give leftrsasigkey= and rightrsasigkey=, or leftcert=, or authby=secret")
	}
	return nil
}

// known reports whether the configuration says how an end proves itself.
func (k *checker) known(e, other *End) bool {
	return len(e.Given()) > 0 || e.Cert.File != "" || e.AcceptsCertificate(other) || e.AsksDNS(other)
}

// needsKey reports whether the connection can be authenticated by public keys
// only, and is not idle.
func (k *checker) needsKey() bool {
	for _, e := range []*End{&k.Left, &k.Right} {
		for _, m := range append(e.Auth, k.AuthBy...) {
			if m != ike.AuthPubkey {
				return false
			}
		}
	}
	return k.Auto != AutoIgnore && k.negotiates() && !k.Group() && !k.Opportunistic()
}

func (k *checker) protocols() *Problem {
	l, r := &k.Left, &k.Right
	if l.Proto != 0 && r.Proto != 0 && l.Proto != r.Proto {
		return k.problem("rightprotoport", "leftprotoport and rightprotoport name different protocols", "")
	}
	return nil
}
