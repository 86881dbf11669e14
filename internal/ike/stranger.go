package ike

import (
	"crypto"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
	"cygnet/internal/rawkey"
)

// Opportunistic encryption, opportunistic.md 4 to 6: peers that no connection
// names prove themselves by what the DNS says of them.

// Stranger marks a connection with a peer that the configuration does not know,
// and says how the DNS is read for it.
type Stranger struct{ DNS oe.Options }

// Proof is what a stranger has shown.
type Proof struct {
	Key   crypto.PublicKey // nil: NULL authentication
	Level oe.Level
}

// Pair is the one flow that a stranger asks to protect, as we see it.
type Pair struct {
	Local, Remote netip.Addr
	Proto         uint8 // of the packet that the peer put first; 0: any
	LocalPort     uint16
	RemotePort    uint16
}

// Strangers is a PAD that knows of opportunistic encryption. Its answers are
// immediate, like those of PAD.
type Strangers interface {
	// Silent reports whether a caller gets no answer at all: its address is
	// blocked (opportunistic.md 5, step 1).
	Silent(local, remote netip.Addr) bool
	// Admit makes the connection of an IKE SA out of a template for strangers,
	// for a peer that has proved itself. It stands in for PAD.Instantiate.
	Admit(template *Conn, remote netip.AddrPort, peer ID, proof Proof) *Conn
	// Grant returns the connection of the flow that a stranger asks for on the
	// IKE SA of c, or why it must not have it.
	Grant(c *Conn, pair Pair, proof Proof) (*Conn, *Failure)
}

var _ Waiting = Vouch{}

// stranger reports whether a connection is with a stranger who calls, and whose
// key is therefore not known yet.
func (c *Conn) stranger() bool { return c != nil && c.Stranger != nil && len(c.Remote.Keys) == 0 }

// introduced verifies the signature of a stranger by the keys that the DNS binds
// to its identity.
func (j Verify) introduced(env Env) (any, error) {
	keys, level, err := j.introduce(env)
	if err != nil {
		return nil, err
	}
	known := *j.Conn
	known.Remote.Keys = keys
	j.Conn = &known
	r, err := j.signature(env.Keys)
	if v, ok := r.(Verified); ok && err == nil {
		v.Level = level
		return v, nil
	}
	return r, err
}

// introduce finds those keys: of an address at its reverse name, of a name there
// (opportunistic.md 6.2).
func (j Verify) introduce(env Env) (keys []PublicKey, l oe.Level, err error) {
	if env.Ask == nil {
		return nil, 0, errors.New("there is no DNS to ask about strangers")
	}
	var inquiry *oe.Inquiry
	addr, isAddr := j.Remote.Addr()
	switch {
	case isAddr && addr != j.From.Unmap():
		return nil, 0, fmt.Errorf("%s calls from %s: a stranger's identity must be the address it has", j.Remote, j.From)
	case isAddr:
		inquiry = oe.KeysOfAddr(addr, j.Conn.Stranger.DNS)
	case j.Remote.Kind == IDFQDN:
		inquiry = oe.KeysOfName(j.Remote.Data, j.Conn.Stranger.DNS)
	default:
		return nil, 0, fmt.Errorf("%s: a stranger is known by its address or its name only", j.Remote)
	}
	f := env.Ask(inquiry)
	if f.Cause != oe.CauseNone {
		return nil, 0, fmt.Errorf("the DNS has no key for %s: %s", j.Remote, f.Why)
	}
	l = oe.LevelSecure
	for _, o := range f.Offers {
		keys = append(keys, PublicKey{Key: o.Key, Origin: "the DNS"})
		l = min(l, o.Level)
	}
	return keys, l, nil
}

// Vouch asks the DNS whether a stranger may speak for Client, and whether we may
// for our own client. Either is left out where an end speaks for itself. Its
// error is why not.
type Vouch struct {
	Conn   *Conn // of the IKE SA
	Peer   ID
	Addr   netip.Addr // where the peer calls from
	Proof  Proof
	Client netip.Addr // that the peer wants to speak for; invalid: itself
	Ours   netip.Addr // that we shall speak for; invalid: ourselves
}

// Waits implements Waiting.
func (Vouch) Waits() bool { return true }

// String implements Job.
func (j Vouch) String() string { return "vouch for " + j.Peer.String() }

// Run implements Job.
func (j Vouch) Run(env Env) (any, error) {
	if env.Ask == nil || j.Conn.Stranger == nil {
		return nil, errors.New("there is no DNS to ask about strangers")
	}
	if j.Client.IsValid() {
		who := oe.Speaker{Addr: j.Addr.Unmap()}
		if j.Peer.Kind == IDFQDN {
			who.Name = j.Peer.Data
		}
		if err := j.may(env, j.Client, who, j.Proof.Key); err != nil {
			return nil, fmt.Errorf("gateway %s wants %s as its client: DNS does not confirm (%w)", j.Peer, j.Client, err)
		}
	}
	if j.Ours.IsValid() {
		var key crypto.PublicKey
		if keys := j.Conn.Local.Keys; len(keys) > 0 {
			key = keys[0].Key
		}
		if err := j.may(env, j.Ours, oe.Speaker{Addr: j.Conn.Local.Addr}, key); err != nil {
			return nil, fmt.Errorf("our client %s does not delegate us as its Security Gateway (%w)", j.Ours, err)
		}
	}
	return nil, nil
}

func (j Vouch) may(env Env, client netip.Addr, who oe.Speaker, key crypto.PublicKey) error {
	if key == nil {
		return errors.New("who is anonymous speaks for nobody else")
	}
	f := env.Ask(oe.MaySpeak(client, who, key, j.Conn.Stranger.DNS))
	if f.Cause != oe.CauseNone {
		return errors.New(f.Why)
	}
	return nil
}

// HasKey reports whether the end has that key.
func (e *End) HasKey(key crypto.PublicKey) bool {
	return key != nil && slices.ContainsFunc(e.Keys, func(k PublicKey) bool { return rawkey.Equal(k.Key, key) })
}

// HostPair finds the one pair of hosts that a peer asks for in its traffic
// selectors: the first single hosts on either side, else the ends of the IKE SA
// themselves if they are in what it asks for (opportunistic.md 5, step 4).
func HostPair(local, remote []ipsec.TS, ourAddr, peerAddr netip.Addr) (p Pair, ok bool) {
	pick := func(list []ipsec.TS, end netip.Addr) (ipsec.TS, bool) {
		for _, ts := range list {
			if ts.Start == ts.End {
				return ts, true
			}
		}
		for _, ts := range list {
			if ts.Start.Is4() == end.Is4() && !end.Less(ts.Start) && !ts.End.Less(end) {
				ts.Start, ts.End = end, end
				return ts, true
			}
		}
		return ipsec.TS{}, false
	}
	l, okL := pick(local, ourAddr.Unmap())
	r, okR := pick(remote, peerAddr.Unmap())
	if !okL || !okR || l.Start.Is4() != r.Start.Is4() || l.Proto != 0 && r.Proto != 0 && l.Proto != r.Proto {
		return p, false
	}
	return Pair{Local: l.Start, Remote: r.Start, Proto: max(l.Proto, r.Proto), LocalPort: l.Ports.Lo, RemotePort: r.Ports.Lo}, true
}
