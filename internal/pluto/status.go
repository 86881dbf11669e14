package pluto

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/whack"
)

// Names of established states, as Libreswan has them; scripts look for the
// phrases behind them.
const (
	stateIKE        = "STATE_V2_ESTABLISHED_IKE_SA"
	stateIKEText    = "IKE SA established"
	stateISAKMPText = "ISAKMP SA established"
	stateChild      = "STATE_V2_ESTABLISHED_CHILD_SA"
	stateChildText  = "IPsec SA established"
)

// status is the whole report of `ipsec auto --status`.
func (d *Daemon) status() *whack.Status {
	s := &whack.Status{Schema: whack.Schema, Version: d.o.Version, PID: os.Getpid(), Interfaces: []whack.Interface{},
		Conns: []whack.ConnStatus{}, States: []whack.SAState{}, Pending: []whack.Pending{}, Debug: []string{}, Captive: d.captive()}
	if !d.myID.IsZero() {
		s.MyID = d.myID.String()
	}
	for _, a := range debugAreas {
		if d.debug[a] {
			s.Debug = append(s.Debug, a)
		}
	}
	for _, l := range d.links {
		for _, a := range l.Addrs {
			s.Interfaces = append(s.Interfaces, whack.Interface{Virtual: l.Virtual, Physical: l.Physical, Addr: a})
		}
	}
	views := d.table.Views()
	for _, v := range views {
		s.Conns = append(s.Conns, connStatus(v))
		for _, c := range v.Children {
			s.States = append(s.States, d.childState(v, c))
		}
	}
	for _, k := range d.table.IKEs() {
		s.States = append(s.States, d.ikeState(k))
		for _, name := range k.Waiting {
			if k.Up != nil || name != k.Conn.Name {
				s.Pending = append(s.Pending, whack.Pending{Serial: k.Serial, Conn: name})
			}
		}
	}
	slices.SortStableFunc(s.States, func(a, b whack.SAState) int {
		return cmp.Or(cmp.Compare(a.Conn, b.Conn), cmp.Compare(a.Instance, b.Instance), cmp.Compare(b.Serial, a.Serial))
	})
	return s
}

func connStatus(v connection.View) whack.ConnStatus {
	c := whack.ConnStatus{Name: v.Name, Instance: v.Instance, Oriented: v.Oriented, Routing: v.Routing, Owner: v.Owner,
		Local: endStatus(v.Local), Remote: endStatus(v.Remote),
		IKELife: secs(v.IKELife), ChildLife: secs(v.ChildLife), RekeyMargin: secs(v.RekeyMargin), RekeyFuzz: v.RekeyFuzz,
		KeyingTries: v.KeyingTries, Policy: v.PolicyWords(v.Up), Interface: v.Physical, Version: int(v.Version),
		NewestIKE: v.NewestIKE, NewestChild: v.NewestChild}
	c.Local.NextHop, c.Remote.NextHop = v.NextHop, v.PeerHop
	c.Remote.Word = v.RemoteWord
	if v.Instance != 0 {
		c.Peer = v.Remote.Addr
	}
	c.Prio = [2]int{bits(v.Local.TS), bits(v.Remote.TS)}
	if v.Failure != nil {
		c.LastFailure = v.Failure.Why
	}
	c.Obsolete = obsolete(v.Description)
	return c
}

// obsolete lists the weak algorithms that a connection may come to use.
func obsolete(d *connection.Description) (list []string) {
	for _, p := range slices.Concat(d.IKE, d.ESP, d.AH) {
		for _, line := range p.Obsolete() {
			if !slices.Contains(list, line) {
				list = append(list, line)
			}
		}
	}
	return list
}

func secs(d time.Duration) int { return int(d.Seconds()) }

func bits(list []ipsec.TS) int {
	for _, ts := range list {
		for _, p := range ts.Prefixes() {
			return p.Bits()
		}
	}
	return 0
}

func endStatus(e ike.End) whack.EndStatus {
	s := whack.EndStatus{Addr: e.Addr, Host: e.Host}
	if e.ID.Kind != ike.IDNone {
		s.ID = e.ID.String()
	}
	for _, ts := range e.TS {
		s.Clients = append(s.Clients, ts.Prefixes()...)
		s.Proto = ts.Proto
		if !ts.Ports.Any() {
			s.Port = ts.Ports.Lo
		}
	}
	return s
}

func (d *Daemon) childState(v connection.View, c connection.ChildView) whack.SAState {
	s := whack.SAState{Serial: c.Serial, Conn: v.Name, Instance: v.Instance, Name: stateChild, Text: stateChildText,
		Newest: c.Using, Owner: v.Owner == c.Serial, Parent: c.IKE, SAOut: c.Up.Out, SAIn: c.Up.In, TunOut: c.TunOut, TunIn: c.TunIn,
		Out: c.Up.Out.String(), In: c.Up.In.String(), Suite: c.Up.Suite, Mode: c.Up.Mode.String(), Encap: c.Up.Encap != (ipsec.Encap{}), TCP: c.Up.Encap.Stream}
	s.Name = cmp.Or(c.Up.State, s.Name)
	s.Event, s.EventIn = nextEvent(c.Up.ReplaceAt, c.Up.EndAt)
	for _, ts := range c.Up.TSLocal {
		s.LocalTS = append(s.LocalTS, ts.String())
	}
	for _, ts := range c.Up.TSRemote {
		s.RemoteTS = append(s.RemoteTS, ts.String())
	}
	s.Peer = d.table.Peer(c.IKE)
	in, out := d.usage(c.Up.In), d.usage(c.Up.Out)
	s.InBytes, s.OutBytes = in.Bytes, out.Bytes
	if last := latest(in.LastUsed, out.LastUsed); !last.IsZero() {
		s.Used = 1 + int(time.Since(last).Seconds())
	}
	return s
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (d *Daemon) usage(id ipsec.SAID) ipsec.Usage {
	u, err := d.o.Plane.Usage(context.Background(), id)
	if err != nil {
		return ipsec.Usage{} // it has just gone
	}
	return u
}

func nextEvent(replace, end time.Time) (string, int) {
	switch {
	case !replace.IsZero() && time.Until(replace) > 0:
		return "EVENT_SA_REPLACE", int(time.Until(replace).Seconds())
	case !end.IsZero():
		return "EVENT_SA_EXPIRE", int(time.Until(end).Seconds())
	}
	return "", 0
}

func (d *Daemon) ikeState(k connection.IKEView) whack.SAState {
	s := whack.SAState{Serial: k.Serial, Conn: k.Conn.Name, Instance: k.Conn.Instance, IKE: true, Newest: k.Newest}
	if st, ok := d.states[k.Serial]; ok {
		s.Name, s.Text = st.Name, st.Text
	}
	if k.Up != nil {
		s.Name, s.Text, s.Peer, s.Suite = stateIKE, stateIKEText, k.Up.Remote, k.Up.Suite
		if k.Up.State != "" {
			s.Name, s.Text = k.Up.State, stateISAKMPText
		}
		s.LocalID, s.RemoteID, s.Encap, s.TCP = k.Up.LocalID.String(), k.Up.RemoteID.String(), k.Up.Encap, k.Up.Stream
		s.Event, s.EventIn = nextEvent(time.Time{}, k.Since.Add(k.Conn.IKELife))
	}
	if m := d.machines[k.Serial]; m != nil {
		i, r := m.SPIs()
		s.SPIi, s.SPIr = fmt.Sprintf("%016x", i), fmt.Sprintf("%016x", r)
		if k.Up == nil && !m.Deadline().IsZero() {
			s.Event, s.EventIn = "EVENT_RETRANSMIT", max(0, int(time.Until(m.Deadline()).Seconds()))
		}
	}
	return s
}

// traffic is what the SAs in use have carried.
func (d *Daemon) traffic() *whack.Traffic {
	t := &whack.Traffic{Schema: whack.Schema, Conns: []whack.ConnBytes{}}
	for _, v := range d.table.Views() {
		for _, c := range v.Children {
			if !c.Using {
				continue
			}
			t.Conns = append(t.Conns, whack.ConnBytes{Serial: c.Serial, Name: v.Name, Instance: v.Instance, Peer: v.Remote.Addr,
				AddTime: c.Since.Unix(), InBytes: d.usage(c.Up.In).Bytes, OutBytes: d.usage(c.Up.Out).Bytes, ID: v.Remote.ID.String()})
		}
	}
	return t
}

// keyList is the answer to --listpubkeys.
type keyList struct {
	Schema int       `json:"schema"`
	Keys   []keyLine `json:"public_keys"`
}

type keyLine struct {
	ID     string `json:"id"`
	Kind   string `json:"kind"`
	Conn   string `json:"connection"`
	Origin string `json:"origin"`
}

// Lines is one line per key.
func (k *keyList) Lines() []string {
	lines := []string{"List of Public Keys:"}
	for _, key := range k.Keys {
		lines = append(lines, fmt.Sprintf("%s, %s key, from %s, connection %q", key.ID, key.Kind, key.Origin, key.Conn))
	}
	return lines
}

func (d *Daemon) publicKeys() *keyList {
	list := &keyList{Schema: whack.Schema, Keys: []keyLine{}}
	for _, v := range d.table.Views() {
		for _, k := range v.Remote.Keys {
			kind := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", k.Key), "*"), ".PublicKey")
			list.Keys = append(list.Keys, keyLine{v.Remote.ID.String(), strings.ToUpper(kind), v.Name, k.Origin})
		}
	}
	return list
}
