package connection

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/pki"
	"cygnet/internal/suite"
)

// Facts is what Orient must know of this machine.
type Facts struct {
	Ours    []Address
	Default [2]Gateway            // IPv4 and IPv6; zero: no default route
	MyID    ike.ID                // what %myid stands for; IDNone: unknown
	Names   map[string]netip.Addr // host names of the configuration, resolved
	Certs   *pki.Store            // nil: none
	// Unique is uniqueids=, and UniqueGiven whether the configuration says so.
	Unique      config.UniqueIDs
	UniqueGiven bool
}

// Address is one address on an interface that a tunnel device is attached to.
type Address struct {
	Addr              netip.Addr
	Virtual, Physical string
	Net               netip.Prefix // of the neighbours that are reached from it directly; invalid: there are none
}

// Gateway is a default route.
type Gateway struct {
	Device        string
	Addr, NextHop netip.Addr // our address on Device; NextHop is invalid on a point-to-point link
}

// Default times of IKEv2's retransmission (freeswan.md Part 7).
const (
	retransmitFirst  = 500 * time.Millisecond
	retransmitTotal  = 60 * time.Second
	retransmitFirst1 = 10 * time.Second // IKEv1, freeswan.md 6.5
	retransmitTotal1 = 70 * time.Second
)

// Every path takes packets of these sizes (RFC 7383, 2.5.1).
const (
	leastMTU4 = 576
	leastMTU6 = 1280
)

// Errors of Orient that a caller may test for.
var (
	ErrBothEnds = errors.New("both ends are addresses of this machine")
	ErrTemplate = errors.New("group and opportunistic connections have no peer of their own")
)

// Orient turns a connection of the configuration into what it means here: the
// end whose address is ours becomes Local. Where neither is, the result is not
// Oriented and may be listed only. Errors name the connection's place.
func Orient(c *config.Conn, f *Facts) (*Description, error) {
	d, err := orient(c, f)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: connection %q: %w", c.Where.File, c.Where.Line, c.Name, err)
	}
	return d, nil
}

func orient(c *config.Conn, f *Facts) (*Description, error) {
	if c.Group() || c.Opportunistic() {
		return nil, ErrTemplate
	}
	left, err := f.resolve(&c.Left)
	if err != nil {
		return nil, fmt.Errorf("left: %w", err)
	}
	right, err := f.resolve(&c.Right)
	if err != nil {
		return nil, fmt.Errorf("right: %w", err)
	}
	l, r := f.find(left), f.find(right)
	d := &Description{Alias: c.Alias, Auto: c.Auto, MTU: c.MTU, Metric: c.Metric, DontRekey: !c.Rekey}
	local, remote, here := end{&c.Left, left}, end{&c.Right, right}, l
	switch {
	case l != nil && r != nil:
		return nil, fmt.Errorf("%w: %s and %s", ErrBothEnds, left, right)
	case r != nil:
		local, remote, here = remote, local, r
	}
	d.Oriented, d.Right = here != nil, local.End == &c.Right
	if here != nil {
		d.Virtual, d.Physical = here.Virtual, here.Physical
	}
	if err := d.fill(c, f, local, remote); err != nil {
		return nil, err
	}
	return d, nil
}

// end is one end of a connection with its address; unspecified is %any.
type end struct {
	*config.End
	addr netip.Addr
}

// resolve finds the address of an end; unspecified for %any.
func (f *Facts) resolve(e *config.End) (netip.Addr, error) {
	switch e.Host.Kind {
	case config.HostAddr:
		return e.Host.Addr, nil
	case config.HostAny:
		if e.Host.Addr.IsValid() {
			return e.Host.Addr, nil
		}
		return netip.IPv4Unspecified(), nil
	case config.HostName:
		if a, ok := f.Names[e.Host.Name]; ok {
			return a, nil
		}
		return netip.Addr{}, fmt.Errorf("host name %q has no known address", e.Host.Name)
	case config.HostDefaultRoute:
		if g := f.gateway(); g.Addr.IsValid() {
			return g.Addr, nil
		}
		return netip.Addr{}, errors.New("%defaultroute requested but not known: there is no default route")
	}
	return netip.Addr{}, errors.New("no address is given")
}

// gateway returns the default route, IPv4 where there is one.
func (f *Facts) gateway() Gateway {
	if f.Default[0].Addr.IsValid() {
		return f.Default[0]
	}
	return f.Default[1]
}

func (f *Facts) find(a netip.Addr) *Address {
	for i := range f.Ours {
		if f.Ours[i].Addr == a && !a.IsUnspecified() {
			return &f.Ours[i]
		}
	}
	return nil
}

func (d *Description) fill(c *config.Conn, f *Facts, local, remote end) error {
	k := &ike.Conn{Name: c.Name, Version: c.Version, Mode: c.Mode(), PFS: c.PFS, Compress: c.Compress,
		Encap: c.Encapsulation, Narrow: c.Narrowing, Replay: c.ReplayWindow, TFC: c.TFC, RefuseTFC: c.RefuseTFC, CheckArrival: c.CheckArrival,
		IKELife: c.IKELifetime, ChildLife: c.KeyLife, RekeyMargin: c.RekeyMargin, RekeyFuzz: c.RekeyFuzz,
		Rekey: c.Rekey, Reauth: c.Reauth && c.Version == 2, LifeBytes: c.LifeBytes, LifePackets: c.LifePackets, KeyingTries: c.KeyingTries,
		RetransmitFirst: c.RetransmitAt, RetransmitTotal: c.RetransmitEnd}
	d.Conn = k
	k.DPDDelay, k.DPDAction = c.Liveness()
	k.Template = remote.addr.IsUnspecified()
	first, total := retransmitFirst, retransmitTotal
	if c.Version == 1 {
		first, total = retransmitFirst1, retransmitTotal1
	}
	if k.RetransmitFirst == 0 {
		k.RetransmitFirst = first
	}
	if k.RetransmitTotal == 0 {
		k.RetransmitTotal = total
	}
	var err error
	if k.Local, err = f.end(local); err != nil {
		return err
	}
	if k.Remote, err = f.end(remote); err != nil {
		return err
	}
	if k.Local.ID.Kind == ike.IDNone && !local.addr.IsUnspecified() {
		k.Local.ID = addressID(local.addr)
	}
	k.Remote.Keys, k.Remote.DNS = remote.Given(), remote.AsksDNS(local.End)
	k.Local.Certs, k.Remote.Certs = f.certs(local, remote), f.certs(remote, local)
	eapNames(c, k)
	k.Resume = c.Resume
	k.RedirectTo, k.AcceptRedirect, k.RedirectWithin = c.RedirectTo, c.AcceptRedirect, c.RedirectWithin
	k.PPK, k.PPKIDs, k.Childless = c.PPK, c.PPKIDs, c.Childless
	d.Unique = f.unique(k)
	d.virtual(c, local, remote)
	if c.Version == ike.Version2 {
		k.TCP, k.TCPPort = c.TCP, c.TCPPort
	}
	k.MOBIKE = c.MOBIKE && c.Version == ike.Version2
	k.Fragmentation = c.Fragmentation
	if c.Fragmentation == ike.Yes {
		k.FragmentSize = leastMTU4
		if local.addr.Is6() || remote.addr.Is6() {
			k.FragmentSize = leastMTU6
		}
	}
	d.proposals(c)
	d.treatment(c)
	if k.Template {
		d.RemoteWord = "%any"
	}
	return d.hops(f, local, remote)
}

// eapNames fills in eap_identity=.
func eapNames(c *config.Conn, k *ike.Conn) {
	byEAP := func(e *ike.End) bool { return slices.ContainsFunc(e.Auth, ike.AuthMethod.EAP) }
	asked := c.EAPIdentity == config.AnyName
	if byEAP(&k.Local) && !asked {
		k.Local.EAPName = c.EAPIdentity
	}
	if byEAP(&k.Remote) {
		if k.Remote.AskName = c.EAPIdentity != ""; !asked {
			k.Remote.EAPName = c.EAPIdentity
		}
	}
}

// unique is uniqueids= for one connection. Whoever knows a secret that several
// may share can take any of their names, so by default none of them ends the
// connection of another (freeswan.md V19).
func (f *Facts) unique(k *ike.Conn) config.UniqueIDs {
	shared := k.Template && k.Remote.ID.IsZero() && slices.Contains(k.Remote.Auth, ike.AuthPSK)
	if shared && f.Unique == config.UniqueReplace && !f.UniqueGiven {
		return config.UniqueNo
	}
	return f.Unique
}

// end is what IKE knows of one end. Selectors of a host whose address is not
// known yet cover its family's unspecified address; an instance replaces them.
func (f *Facts) end(e end) (ike.End, error) {
	id, err := f.identity(e)
	if err == nil {
		err = f.checkCertificate(e, id)
	}
	if err != nil {
		return ike.End{}, err
	}
	out := ike.End{Addr: e.addr, Port: e.IKEPort, ID: id, Auth: e.Auth, Host: len(e.Subnets) == 0}
	if out.Host {
		bits := e.addr.BitLen()
		out.TS = []ipsec.TS{ipsec.TSOf(netip.PrefixFrom(e.addr, bits), e.Proto, e.Ports)}
	}
	if len(e.Within) > 0 {
		out.Host, out.TS = false, nil
	}
	for _, p := range append(slices.Clone(e.Within), e.Subnets...) {
		out.TS = append(out.TS, ipsec.TSOf(p, e.Proto, e.Ports))
	}
	return out, nil
}

// identity is leftid=: by default the address, and nothing for %any.
func (f *Facts) identity(e end) (ike.ID, error) {
	if namedByCertificate(e) {
		return f.fromCertificate(e)
	}
	switch e.ID.Kind {
	case config.IdentityUnset:
		if slices.Equal(e.Auth, []ike.AuthMethod{ike.AuthNULL}) { // it proves no name
			return ike.ID{Kind: ike.IDNULL}, nil
		}
		if e.addr.IsUnspecified() {
			return ike.ID{}, nil
		}
		return addressID(e.addr), nil
	case config.IdentityID:
		return e.ID.ID, nil
	case config.IdentityNull:
		return ike.ID{Kind: ike.IDNULL}, nil
	case config.IdentityMyID:
		if f.MyID.Kind == ike.IDNone {
			return ike.ID{}, errors.New("%myid is not known: set myid= in config setup")
		}
		return f.MyID, nil
	case config.IdentityName:
		if a, ok := f.Names[e.ID.Name]; ok {
			return addressID(a), nil
		}
		return ike.ID{}, fmt.Errorf("identity %q has no known address; write @%s for the name itself", e.ID.Name, e.ID.Name)
	case config.IdentityAny:
		return ike.ID{}, nil
	}
	return ike.ID{}, errors.New("there is no such identity")
}

func addressID(a netip.Addr) ike.ID {
	kind := ike.IDIPv6
	if a.Is4() {
		kind = ike.IDIPv4
	}
	return ike.ID{Kind: kind, Data: string(a.AsSlice())}
}

// proposals fills in what IKE may agree on.
func (d *Description) proposals(c *config.Conn) {
	d.IKE = c.IKE.List
	switch {
	case len(d.IKE) > 0:
	case c.Legacy:
		d.IKE = suite.FreeSWANIKE()
	case d.Version == 1:
		d.IKE = suite.DefaultIKE()
	default:
		d.IKE = suite.DefaultIKEv2()
	}
	d.ESP, d.AH = phase2Proposals(c)
	if c.Phase2 != config.Phase2ESP {
		d.Encap = ike.No // only ESP goes in UDP
	}
	groups := pfsGroups(c, d.IKE)
	d.ESP, d.AH = finished(c, d.ESP, groups), finished(c, d.AH, groups)
	if d.Version != 1 && !c.Legacy && !namesPhase2(c) {
		d.ESP = suite.Followed(d.ESP, d.IKE)
	}
}

// namesPhase2 reports whether the configuration says what Child SAs may agree on.
func namesPhase2(c *config.Conn) bool {
	if c.Phase2 == config.Phase2AH {
		return len(c.AH.List) > 0
	}
	return len(c.ESP.List) > 0
}

// phase2Proposals are the proposals of ESP and, where that is around it, of AH.
// AH alone takes the place of ESP.
func phase2Proposals(c *config.Conn) (esp, ah []suite.Proposal) {
	esp, ah = c.ESP.List, c.AH.List
	switch {
	case len(esp) > 0 || c.Phase2 == config.Phase2AH:
	case c.Legacy:
		esp = suite.FreeSWANESP(false)
		if c.Phase2 == config.Phase2AHESP { // freeswan.md 6.3: AH authenticates
			esp[0].Integ = nil
		}
	default:
		esp = suite.DefaultESP(false)
	}
	switch {
	case len(ah) > 0:
	case c.Legacy:
		ah = suite.FreeSWANAH(false)
	default:
		ah = suite.DefaultAH(false)
	}
	switch c.Phase2 {
	case config.Phase2AH:
		return ah, nil
	case config.Phase2AHESP:
		return esp, ah
	}
	return esp, nil
}

// pfsGroups are the groups of proposals that name none: what pfsgroup= says, or
// those of the IKE SA.
func pfsGroups(c *config.Conn, list []suite.Proposal) []*suite.KE {
	if g := suite.KEByName(c.PFSGroup); g != nil {
		return []*suite.KE{g}
	}
	var groups []*suite.KE
	for _, p := range list {
		groups = append(groups, p.KE...)
	}
	return unique(groups)
}

// finished gives proposals of Child SAs the groups and sequence numbers that a
// connection wants.
func finished(c *config.Conn, list []suite.Proposal, groups []*suite.KE) []suite.Proposal {
	var out []suite.Proposal
	for _, p := range list {
		if c.PFS {
			p = p.WithKE(groups)
		} else {
			p = p.WithoutKE()
		}
		switch {
		case c.ESN == ike.Yes:
			p.ESN = []bool{true}
		case c.ESN == ike.No || c.ReplayWindow == 0: // RFC 4303, 3.3.3
			p.ESN = []bool{false}
		}
		out = append(out, p)
	}
	return out
}

func unique(list []*suite.KE) []*suite.KE {
	var out []*suite.KE
	seen := map[*suite.KE]bool{}
	for _, k := range list {
		if !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}

// treatment fills in what happens to packets without an SA.
func (d *Description) treatment(c *config.Conn) {
	d.Shunt, d.Hold, d.Failure = ipsec.Trap, ipsec.Hold, ipsec.Trap
	if a, is := c.Shunt(); is {
		d.Shunt, d.Hold, d.Failure = a, a, a
		return
	}
	if c.Negotiation == ipsec.Pass || c.Negotiation == ipsec.Drop {
		d.Hold = c.Negotiation
	}
	switch c.Failure {
	case config.FailPass:
		d.Failure = ipsec.Pass
	case config.FailDrop:
		d.Failure = ipsec.Drop
	case config.FailReject:
		d.Failure = ipsec.Reject
	}
}

// builtinUpdown is the command that leftupdown= stands for by default: what we
// do ourselves.
var builtinUpdown = []string{"ipsec", "_updown"}

// hops fills in next hops, our source address and script.
func (d *Description) hops(f *Facts, local, remote end) error {
	hop := func(e end) netip.Addr {
		switch {
		case e.NextHop.Kind == config.HostAddr:
			return e.NextHop.Addr
		case e.NextHop.Kind == config.HostDefaultRoute, e.Host.Kind == config.HostDefaultRoute:
			if e.addr.Is4() {
				return f.Default[0].NextHop
			}
			return f.Default[1].NextHop
		}
		return netip.Addr{}
	}
	d.NextHop = hop(local)
	if remote.NextHop.Kind == config.HostAddr {
		d.PeerHop = remote.NextHop.Addr
	}
	if d.NextHop.IsValid() && d.NextHop == local.addr {
		return fmt.Errorf("nexthop %s is our own address", d.NextHop)
	}
	d.SourceIP, d.Firewall, d.ProxyARP = local.SourceIP, local.Firewall, local.ProxyARP
	if !slices.Equal(local.Updown, builtinUpdown) {
		d.Updown = local.Updown
	}
	return nil
}
