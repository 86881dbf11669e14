package connection

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// index finds connections and SAs by what messages, facts and the data plane call
// them, so that a gateway with a thousand tunnels does no more for one of them than
// a gateway with one. The lists it gives have the order of Table.conns or
// Table.ikes; they must not be changed.
type index struct {
	templates []*conn
	remote    map[netip.Addr][]*conn // others than templates, by the peer's address
	alias     map[string][]*conn     // those that have another name in the file

	unborn []*ikeSA                // their machines do not exist yet
	ikes   map[uint32]*ikeSA       // all others, by serial
	peer   map[netip.Addr][]*ikeSA // by ikeSA.peer
	proven map[ike.ID][]*ikeSA     // established ones by the identity that the peer has proved

	children map[uint32]*child   // by serial
	riders   map[uint32][]*child // by the serial of their IKE SA, oldest first
	carrier  map[ipsec.SAID]*child
}

func newIndex() index {
	return index{
		remote: map[netip.Addr][]*conn{}, alias: map[string][]*conn{},
		ikes: map[uint32]*ikeSA{}, peer: map[netip.Addr][]*ikeSA{}, proven: map[ike.ID][]*ikeSA{},
		children: map[uint32]*child{}, riders: map[uint32][]*child{}, carrier: map[ipsec.SAID]*child{},
	}
}

func byKey(a, b *conn) int  { return a.key().compare(b.key()) }
func byAge(a, b *ikeSA) int { return int(a.order) - int(b.order) }

// addConn takes in a connection. Its peer's address and its names never change.
func (x *index) addConn(c *conn) {
	if c.Template {
		x.templates = insertSorted(x.templates, c, byKey)
	} else {
		x.remote[c.Remote.Addr] = insertSorted(x.remote[c.Remote.Addr], c, byKey)
	}
	if c.Alias != c.Name {
		x.alias[c.Alias] = insertSorted(x.alias[c.Alias], c, byKey)
	}
}

func (x *index) removeConn(c *conn) {
	x.templates = without(x.templates, c)
	cut(x.remote, c.Remote.Addr, c)
	cut(x.alias, c.Alias, c)
}

// addIKE takes in an IKE SA whose peer is known. Its serial and the peer's identity
// may come later, by number and proved.
func (x *index) addIKE(sa *ikeSA) {
	x.peer[sa.peer] = insertSorted(x.peer[sa.peer], sa, byAge)
	if sa.serial == 0 {
		x.unborn = append(x.unborn, sa)
	} else {
		x.ikes[sa.serial] = sa
	}
}

func (x *index) removeIKE(sa *ikeSA) {
	x.unborn = without(x.unborn, sa)
	cut(x.peer, sa.peer, sa)
	if x.ikes[sa.serial] == sa {
		delete(x.ikes, sa.serial)
	}
	if sa.up != nil {
		cut(x.proven, sa.up.RemoteID, sa)
	}
}

// number is called when the machine of an IKE SA exists.
func (x *index) number(sa *ikeSA, serial uint32) {
	x.unborn = without(x.unborn, sa)
	sa.serial = serial
	x.ikes[serial] = sa
}

// repeer gives an IKE SA another peer.
func (x *index) repeer(sa *ikeSA, peer netip.Addr) {
	cut(x.peer, sa.peer, sa)
	sa.peer = peer
	x.peer[peer] = insertSorted(x.peer[peer], sa, byAge)
}

// prove makes an IKE SA an established one.
func (x *index) prove(sa *ikeSA, up *ike.IKEUp) {
	if sa.up != nil {
		cut(x.proven, sa.up.RemoteID, sa)
	}
	sa.up = up
	x.proven[up.RemoteID] = insertSorted(x.proven[up.RemoteID], sa, byAge)
}

func (x *index) addChild(ch *child) {
	x.children[ch.serial] = ch
	x.riders[ch.ike] = append(x.riders[ch.ike], ch)
	for _, id := range ch.up.Ins() {
		x.carrier[id] = ch
	}
	for _, id := range ch.up.Outs() {
		x.carrier[id] = ch
	}
}

func (x *index) removeChild(ch *child) {
	delete(x.children, ch.serial)
	cut(x.riders, ch.ike, ch)
	for _, id := range slices.Concat(ch.up.Ins(), ch.up.Outs()) {
		if x.carrier[id] == ch {
			delete(x.carrier, id)
		}
	}
}

// transfer moves the Child SAs of an IKE SA to its successor.
func (x *index) transfer(from, to uint32) {
	moved := x.riders[from]
	for _, ch := range moved {
		ch.ike = to
	}
	if len(moved) > 0 {
		x.riders[to] = append(x.riders[to], moved...)
	}
	delete(x.riders, from)
}

// insertSorted inserts x where it belongs.
func insertSorted[T any](list []T, x T, compare func(a, b T) int) []T {
	i, _ := slices.BinarySearchFunc(list, x, compare)
	return slices.Insert(list, i, x)
}

// without removes x from a list.
func without[T comparable](list []T, x T) []T {
	if i := slices.Index(list, x); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// cut removes x from the list of a key, and the key with the last of its list.
func cut[K, T comparable](m map[K][]T, k K, x T) {
	list, ok := m[k]
	if list = without(list, x); len(list) > 0 {
		m[k] = list
	} else if ok {
		delete(m, k)
	}
}

// find returns the connection or instance of that key, or nil.
func (t *Table) find(k key) *conn {
	if i, ok := t.position(k); ok {
		return t.conns[i]
	}
	return nil
}

func (t *Table) position(k key) (int, bool) {
	return slices.BinarySearchFunc(t.conns, k, func(c *conn, k key) int { return c.key().compare(k) })
}

// byOwner returns the connection that policies name so, or nil.
func (t *Table) byOwner(owner string) *conn {
	if c := t.find(key{owner, 0}); c != nil {
		return c
	}
	i := strings.LastIndexByte(owner, '[')
	if i < 0 {
		return nil
	}
	n, err := strconv.Atoi(strings.TrimSuffix(owner[i+1:], "]"))
	if c := t.find(key{owner[:i], n}); err == nil && c != nil && c.key().owner() == owner {
		return c
	}
	return nil
}

// named lists what a user means by name: a connection with its instances, or
// all connections that the file made under that name.
func (t *Table) named(name string) []*conn {
	list := slices.Clone(t.at.alias[name])
	for i, _ := t.position(key{name, 0}); i < len(t.conns) && t.conns[i].Name == name; i++ {
		list = append(list, t.conns[i])
	}
	list = slices.DeleteFunc(list, func(c *conn) bool { return c.Stranger != nil })
	slices.SortFunc(list, byKey)
	return list
}

// callers lists the connections that somebody at that address may be the peer of:
// those that name the address, and templates.
func (t *Table) callers(remote netip.Addr) []*conn {
	list := slices.Concat(t.at.remote[remote], t.at.templates)
	slices.SortFunc(list, byKey)
	return list
}

func (t *Table) ikeBySerial(serial uint32) *ikeSA { return t.at.ikes[serial] }

// childBySerial finds a Child SA of a connection in the table.
func (t *Table) childBySerial(serial uint32) (*conn, *child) {
	if ch := t.at.children[serial]; ch != nil {
		return ch.conn, ch
	}
	return nil, nil
}

// ridersOf lists the Child SAs on an IKE SA by connection, each connection's oldest
// first.
func (t *Table) ridersOf(sa *ikeSA) []*child {
	list := slices.Clone(t.at.riders[sa.serial])
	slices.SortStableFunc(list, func(a, b *child) int { return byKey(a.conn, b.conn) })
	return list
}

// Carrier returns the number of the IKE SA that a Child SA with that SAID, of
// either direction, rides on; 0 if there is none.
func (t *Table) Carrier(id ipsec.SAID) uint32 {
	if ch := t.at.carrier[id]; ch != nil {
		return ch.ike
	}
	return 0
}
