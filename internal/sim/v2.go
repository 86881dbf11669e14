package sim

import (
	"net/netip"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ikev2"
	"cygnet/internal/ipsec"
)

// v2 makes IKEv2 machines.
type v2 struct {
	cfg  *ikev2.Config
	gate *ikev2.Gate
}

// IKEv2 is the engine of real gateways.
func IKEv2(n *Node) Engine {
	e := &v2{}
	e.cfg = &ikev2.Config{
		PAD:               n.Table,
		Rand:              n.world.chance.reader("ikev2", n.Name+" "+n.world.now.String()),
		SPIs:              n,
		NextSerial:        n.NextSerial,
		UseInitialContact: n.Table.Alone,
		Pool:              &n.Pool,
		RedirectTo:        n.redirect,
		Wall:              func(time.Time) time.Time { return n.Wall() },
	}
	if n.tokens {
		e.cfg.Tokens = mustToken(ikev2.NewTokenSecret(ipsec.NewSecret([]byte("what makes the tokens of " + n.Name))))
	}
	e.gate = ikev2.NewGate(e.cfg, ikev2.Limits{})
	return e
}

func mustToken(t ikev2.TokenSecret, err error) ikev2.TokenSecret {
	if err != nil {
		panic(err)
	}
	return t
}

// Initiate implements Engine.
func (e *v2) Initiate(a connection.StartIKE) ike.Machine {
	c := a.Conn
	to := c.Remote.Addr
	if a.Gateway.IsValid() {
		to = a.Gateway
	}
	return ikev2.NewInitiator(e.cfg, c, netip.AddrPortFrom(c.Local.Addr, portOf(c.Local)), netip.AddrPortFrom(to, portOf(c.Remote)))
}

func portOf(e ike.End) uint16 {
	if e.Port != 0 {
		return e.Port
	}
	return 500
}

// Unclaimed implements Engine.
func (e *v2) Unclaimed(now time.Time, ev ike.Received) (ike.Machine, []ike.Action) {
	return e.gate.Receive(now, ev, nil)
}

// HalfOpen is the number of IKE SAs whose peer has not proven itself yet.
func (e *v2) HalfOpen() int { return e.gate.HalfOpen() }
