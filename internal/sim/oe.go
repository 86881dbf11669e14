package sim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
)

// DNS is what all nodes of a World find when they ask. A name that nothing is
// known of has, provably, no record.
type DNS struct {
	Delay time.Duration // of every answer
	Dead  bool          // nothing is answered
	Asked int           // questions of nodes, caches not counted

	world   *World
	answers map[oe.Query]oe.Answer
}

// answerLife is the TTL of all answers.
const answerLife = 10 * time.Minute

// Set makes the answer to a question. Without an Expires it lives answerLife
// from each time it is given.
func (d *DNS) Set(q oe.Query, a oe.Answer) {
	if d.answers == nil {
		d.answers = map[oe.Query]oe.Answer{}
	}
	d.answers[q] = a
}

// Publish puts an IPSECKEY at the reverse name of an address, which names a
// gateway and its key; several may stand there.
func (d *DNS) Publish(owner, gateway netip.Addr, precedence uint16, key crypto.PublicKey) {
	rec := oe.Record{Precedence: precedence, Key: key}
	if gateway != owner {
		rec.Gateway.Addr = gateway
	}
	raw, err := rec.AppendIPSECKEY(nil)
	if err != nil {
		panic(fmt.Sprintf("publish %s: %v", owner, err))
	}
	q := oe.Query{Name: oe.ReverseName(owner), Type: oe.TypeIPSECKEY}
	a := d.answers[q]
	d.Set(q, oe.Answer{Security: oe.Secure, Found: true, Raw: append(a.Raw, raw)})
}

// Withdraw takes all records of an address away.
func (d *DNS) Withdraw(owner netip.Addr) {
	delete(d.answers, oe.Query{Name: oe.ReverseName(owner), Type: oe.TypeIPSECKEY})
}

// Lookup implements oe.Resolver, at once.
func (d *DNS) Lookup(_ context.Context, name string, rrtype uint16) (oe.Answer, error) {
	d.Asked++
	if d.Dead {
		return oe.Answer{Why: "no answer"}, nil
	}
	a, ok := d.answers[oe.Query{Name: name, Type: rrtype}]
	if !ok {
		a = oe.Answer{Security: oe.Secure, NXDomain: true}
	}
	if a.Expires.IsZero() {
		a.Expires = d.world.now.Add(answerLife)
	}
	return a, nil
}

func (d *DNS) ask(i *oe.Inquiry) oe.Finding { return oe.Resolve(context.Background(), d, i) }

// Key gives a node an Ed25519 key of its own, made from its name, and returns
// the public half.
func (n *Node) Key() crypto.PublicKey {
	seed := sha256.Sum256([]byte("the key of " + n.Name))
	n.Keys.private = ed25519.NewKeyFromSeed(seed[:])
	return n.Keys.private.Public()
}

// Opportunistic configures a node by an ipsec.conf and policy group files, as
// the daemon reads them. Interfaces and default route are those of the node.
func (n *Node) Opportunistic(conf string, files map[string]string) {
	f := config.ParseText("ipsec.conf", conf)
	if err := f.Err(); err != nil {
		panic(err)
	}
	fsys := config.MapFS{Files: map[string]string{}}
	for name, text := range files {
		fsys.Files["policies/"+name] = text
	}
	g := config.ParseGroups(fsys, "policies", f)
	if err := g.Err(); err != nil {
		panic(err)
	}
	facts := &connection.Facts{Ours: []connection.Address{{Addr: n.Addr, Virtual: "ipsec0", Physical: "eth0"}}}
	family := 0
	if n.Addr.Is6() {
		family = 1
	}
	facts.Default[family] = connection.Gateway{Device: "eth0", Addr: n.Addr}
	ev := connection.Regroup{Mode: f.Setup.OE, Ours: []netip.Addr{n.Addr}, Name: n.called.Data, DNS: oe.Options{TXT: true},
		Rand: n.world.chance.reader("oe", n.Name)}
	if n.Keys.private != nil {
		ev.Own = []crypto.PublicKey{n.Keys.private.Public()}
	}
	list, errs := connection.OrientGroups(f.Conns, g.Entries, facts, ev.DNS)
	if len(errs) > 0 {
		panic(errs[0])
	}
	for _, x := range list { // the cheapest algorithms
		x.IKE, x.ESP = ikeProposals, espProposals
	}
	ev.List = list
	n.command("ipsec auto --rereadgroups", ev)
}

// is reports whether a node may be known by an identity: that of its tunnels; to
// strangers its address, a name that is its own, or nobody's.
func (n *Node) is(id ike.ID) bool {
	return id == nodeID(n) || id == ike.IDOfAddr(n.Addr) || id.Kind == ike.IDNULL || id == n.called
}

// question carries a question of the table to the DNS of the World.
func (n *Node) question(a connection.Lookup) {
	w := n.world
	w.after(w.DNS.Delay, classJob, func() {
		if n.out() {
			return
		}
		f := w.DNS.ask(a.Inquiry)
		if w.DNS.Dead {
			return
		}
		n.later(func() { n.tell(connection.Found{ID: a.ID, Finding: f}) })
		n.drain()
	})
}

// useOf answers a table that wants to know when SAs were used.
func (n *Node) useOf(a connection.CheckUse) {
	last := func(list []ipsec.SAID) (at time.Time) {
		for _, id := range list {
			if u, err := n.Plane.Usage(context.Background(), id); err == nil && u.LastUsed.After(at) {
				at = u.LastUsed
			}
		}
		return at
	}
	n.later(func() { n.tell(connection.Used{Owner: a.Owner, In: last(a.In), Out: last(a.Out)}) })
}

// delay is how long a job takes: one that waits for the DNS, longer.
func (n *Node) delay(j ike.Job) time.Duration {
	if x, ok := j.(ike.Waiting); ok && x.Waits() {
		return n.JobTime + n.world.DNS.Delay
	}
	return n.JobTime
}
