package config

import (
	"time"

	"cygnet/internal/oe"
)

// Opportunistic are the parameters of a policy group or of packetdefault,
// opportunistic.md 2.2, 4.5 and 12.
type Opportunistic struct {
	MinAuth    MinAuth       // oe-min-auth=
	Prefer     bool          // oe-published=prefer: a published key obliges to nothing
	Identity   OEIdentity    // oe-identity=
	AcceptWeak bool          // oe-insecure-keys=accept
	TryAnon    bool          // oe-try-anon=
	DNSTimeout time.Duration // 0: by what the group does on failure
	IKETimeout time.Duration // 0: likewise
	HoldMax    time.Duration // 0: likewise
	Idle       time.Duration // after which an unused tunnel is closed
}

// MinAuth is the weakest authentication that a peer may have. Unset is secure
// where failure means to block, else anon.
type MinAuth struct {
	Set   bool
	Level oe.Level
}

// OEIdentity is who we are to strangers.
type OEIdentity uint8

// The values of oe-identity=. Auto is the address where it publishes our key,
// else the name of myid= if that does, else nobody.
const (
	OEIdentityAuto OEIdentity = iota
	OEIdentityIP
	OEIdentityNull
)

// Bounds of oe-dns-timeout= and its like.
const (
	minOETime = 100 * time.Millisecond
	maxOETime = time.Hour
)

// oeKeys are the parameters of a connection that only groups and packetdefault
// heed.
var oeKeys = []keyword[Conn]{
	{name: "oe-min-auth", kind: "secure, cert, named, weak or anon", doc: "Weakest authentication of a stranger; by default secure where failure blocks, else anon.",
		field: enum(func(c *Conn) *MinAuth { return &c.OE.MinAuth }, word[MinAuth]{"", MinAuth{}, ""}, minAuth("secure", oe.LevelSecure), minAuth("cert", oe.LevelCert),
			minAuth("named", oe.LevelNamed), minAuth("weak", oe.LevelWeak), minAuth("anon", oe.LevelAnon))},
	{name: "oe-published", kind: "must or prefer", def: "must", doc: "Whether a key that the destination publishes obliges to encrypt.",
		field: enum(func(c *Conn) *bool { return &c.OE.Prefer }, word[bool]{"must", false, ""}, word[bool]{"prefer", true, ""})},
	{name: "oe-identity", kind: "auto, ip or null", def: "auto", doc: "Our identity with strangers: our address if it has our key in the DNS; with auto, else the name of myid= if that has; else nobody.",
		field: enum(func(c *Conn) *OEIdentity { return &c.OE.Identity }, word[OEIdentity]{"auto", OEIdentityAuto, ""}, word[OEIdentity]{"ip", OEIdentityIP, ""},
			word[OEIdentity]{"null", OEIdentityNull, ""}, word[OEIdentity]{"fqdn", OEIdentityAuto, "the name of myid= is used where our address has no key in the DNS"})},
	{name: "oe-insecure-keys", kind: "ignore or accept", def: "ignore", doc: "Keys from DNS without DNSSEC.",
		field: enum(func(c *Conn) *bool { return &c.OE.AcceptWeak }, word[bool]{"ignore", false, ""}, word[bool]{"refuse", false, ""}, word[bool]{"accept", true, ""})},
	{name: "oe-try-anon", kind: "yes or no", def: "no", doc: "Try without authentication where the zone is not signed.", field: yesNo(func(c *Conn) *bool { return &c.OE.TryAnon })},
	{name: "oe-dns-timeout", kind: "duration", def: "0s", doc: "Longest wait for the DNS; 0: 2 seconds, or 5 where failure blocks.", field: span(func(c *Conn) *time.Duration { return &c.OE.DNSTimeout }, time.Second)},
	{name: "oe-ike-timeout", kind: "duration", def: "0s", doc: "Longest wait for a stranger's gateway; 0: 4 seconds, or 20 where failure blocks.", field: span(func(c *Conn) *time.Duration { return &c.OE.IKETimeout }, time.Second)},
	{name: "oe-hold-max", kind: "duration", def: "0s", doc: "Longest time that packets are held; 0: 6 seconds, or 30 where failure blocks.", field: span(func(c *Conn) *time.Duration { return &c.OE.HoldMax }, time.Second)},
	{name: "oe-idle", kind: "duration", def: "5m", doc: "After how long without packets a tunnel with a stranger is closed.", field: span(func(c *Conn) *time.Duration { return &c.OE.Idle }, time.Second)},
}

func minAuth(text string, l oe.Level) word[MinAuth] { return word[MinAuth]{text, MinAuth{true, l}, ""} }

// opportunistic checks what strangers' connections need. They speak IKEv2 only
// (opportunistic.md D7).
func (k *checker) opportunistic() *Problem {
	if !k.Group() && !k.Opportunistic() {
		return nil
	}
	if k.Left.Host.stranger() && k.Right.Host.stranger() {
		return k.problem("right", "neither left nor right is an address of ours", "give one of them an address or %defaultroute")
	}
	if k.Version != 2 && k.Opportunistic() {
		return k.problem("keyexchange", "opportunistic encryption speaks IKEv2 only", "leave keyexchange= out")
	}
	for _, t := range []struct {
		id   string
		span time.Duration
	}{{"oe-dns-timeout", k.OE.DNSTimeout}, {"oe-ike-timeout", k.OE.IKETimeout}, {"oe-hold-max", k.OE.HoldMax}, {"oe-idle", k.OE.Idle}} {
		if t.span != 0 && (t.span < minOETime || t.span > maxOETime) {
			return k.problem(t.id, t.id+" must be from 100ms to 1h", "")
		}
	}
	return nil
}

// stranger reports whether an end is whoever a group or the DNS names.
func (h Host) stranger() bool { return h.group() || h.opportunistic() }
