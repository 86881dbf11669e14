package ikev2

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/pki/pkitest"
	"cygnet/internal/suite"
)

// digest writes down everything an IKE SA remembers but token buckets and the
// ciphers' counters, so that two equal digests mean that nothing happened.
func digest(s *SA) string {
	var b strings.Builder
	seen := map[uintptr]bool{}
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if v.IsNil() || seen[v.Pointer()] {
				b.WriteString("*")
				return
			}
			switch v.Type() {
			case reflect.TypeFor[*SA](), reflect.TypeFor[*handshake](), reflect.TypeFor[*eapRun](), reflect.TypeFor[*pending](), reflect.TypeFor[*child](),
				reflect.TypeFor[*offer](), reflect.TypeFor[*rival](), reflect.TypeFor[*createTask](), reflect.TypeFor[*rekeyTask](),
				reflect.TypeFor[*deleteTask](), reflect.TypeFor[*expected](), reflect.TypeFor[*moveTask](), reflect.TypeFor[*pathTask](), reflect.TypeFor[*followUps](), reflect.TypeFor[*byeTask](), reflect.TypeFor[*probeTask](), reflect.TypeFor[*ike.Failure]():
				seen[v.Pointer()] = true
				walk(v.Elem())
			default:
				fmt.Fprintf(&b, "%s@%x", v.Type(), v.Pointer())
			}
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[ike.Bucket]() {
				return
			}
			b.WriteString("{")
			for i := range v.NumField() {
				if v.Type() == reflect.TypeFor[time.Time]() && i == 2 {
					break // the location
				}
				fmt.Fprintf(&b, "%s:", v.Type().Field(i).Name)
				walk(v.Field(i))
				b.WriteString(" ")
			}
			b.WriteString("}")
		case reflect.Interface:
			if v.IsNil() {
				return
			}
			b.WriteString(v.Elem().Type().String())
			if v.Elem().Kind() == reflect.Pointer {
				walk(v.Elem())
			}
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				walk(v.Index(i))
				b.WriteString(",")
			}
		case reflect.Map:
			fmt.Fprintf(&b, "map of %d", v.Len())
		case reflect.Func:
		case reflect.String:
			b.WriteString(v.String())
		case reflect.Bool:
			fmt.Fprint(&b, v.Bool())
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			fmt.Fprint(&b, v.Int())
		default:
			fmt.Fprint(&b, v.Uint())
		}
	}
	walk(reflect.ValueOf(s))
	return b.String()
}

func TestDigestSees(t *testing.T) {
	p := newPair(t, 1)
	w, _ := p.up()
	before := digest(w)
	if digest(w) != before {
		t.Fatal("not repeatable")
	}
	w.children[0].used = !w.children[0].used
	if digest(w) == before {
		t.Fatal("blind to a child")
	}
}

// inState brings one end of a fresh pair into a state and returns that end and
// its machine. Jobs are held back where the state is one of waiting for them.
func inState(t *testing.T, st state) (*pair, *node, *SA) {
	p := newPair(t, 21)
	var n *node
	var sa *SA
	west := func() { n, sa = p.west, p.west.machines[0].(*SA) }
	east := func() { n, sa = p.east, p.east.machines[0].(*SA) }
	deliver := func() {
		d := p.flying[0]
		p.flying = p.flying[1:]
		d.to.receive(d.Send)
	}
	switch st {
	case stateNew:
		s := NewInitiator(p.west.cfg, p.west.conns[0], p.west.addr, p.east.addr)
		p.west.machines = append(p.west.machines, s)
		west()
	case stateKeyI:
		p.west.holdJobs = true
		p.west.initiate()
		west()
	case stateInitI:
		p.west.initiate()
		west()
	case stateMidI:
		hybrid(p)
		p.west.initiate()
		deliver()
		deliver()
		west()
	case stateAuthI:
		p.west.initiate()
		deliver()
		deliver()
		west()
	case stateKeyR:
		p.west.initiate()
		p.east.holdJobs = true
		deliver()
		east()
	case stateInitR:
		p.west.initiate()
		deliver()
		east()
	case stateAuthR:
		p.west.initiate()
		deliver()
		deliver()
		p.east.holdJobs = true
		deliver()
		east()
	case stateEAPR:
		useEAP(p, pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"}), ike.AuthEAPMSCHAPv2)
		p.west.initiate()
		for range 3 {
			deliver()
		}
		east()
	case stateUp:
		p.up()
		west()
	case stateReplaced:
		_, e := p.up()
		p.east.step(e, ike.Rekey{})
		deliver()
		west()
	case stateClosing:
		w, _ := p.up()
		p.west.step(w, ike.Delete{})
		west()
	case stateLinger:
		_, e := p.up()
		p.east.step(e, ike.Delete{})
		deliver()
		west()
	case stateDead:
		w, _ := p.up()
		n, sa = p.west, w
		p.west.step(w, ike.Delete{})
		p.settle()
	}
	if sa.state != st {
		t.Fatalf("got into state %d, want %d\n%s", sa.state, st, p)
	}
	return p, n, sa
}

// TestAdv_V2S_01_Matrix sends every exchange, as request and as response, well
// protected where there are keys, into every state. Only the cells of the table
// may act; all others leave no trace.
func TestAdv_V2S_01_Matrix(t *testing.T) {
	exchanges := []ike.ExchangeType{ike.SAInit, ike.Auth, ike.CreateChild, ike.Informational, ike.Resume, ike.Intermediate, ike.FollowupKE, 240}
	acted := map[cell]bool{}
	for st := stateNew; st <= stateDead; st++ {
		for _, x := range exchanges {
			for _, response := range []bool{isRequest, isResponse} {
				_, n, sa := inState(t, st)
				msg := forge(sa, x, response)
				before := digest(sa)
				sent := len(n.p.sent)
				n.step(sa, ike.Received{Local: sa.local, Remote: sa.remote, Msg: msg})
				did := digest(sa) != before || len(n.p.sent) != sent
				c := cell{st, x, response}
				acted[c] = did
				may := legal(c) != nil ||
					st == stateInitI && x == ike.SAInit && response ||
					// An exchange that nobody knows ends an established IKE SA (2.21.3).
					sa.sealer != nil && (st == stateUp || st == stateReplaced || st == stateClosing) && !known(x) && !response
				if did && !may {
					t.Errorf("%s acts on %s (response: %v)", states[st].name, x, response)
				}
			}
		}
	}
	for _, c := range []cell{
		{stateInitR, ike.Auth, isRequest}, {stateUp, ike.Informational, isRequest}, {stateUp, ike.CreateChild, isRequest},
		{stateReplaced, ike.Informational, isRequest}, {stateReplaced, ike.CreateChild, isRequest},
		{stateClosing, ike.CreateChild, isRequest}, {stateClosing, ike.Informational, isResponse}, {stateAuthI, ike.Auth, isResponse},
		{stateUp, 240, isRequest}, {stateMidI, ike.Intermediate, isResponse},
	} {
		if !acted[c] {
			t.Errorf("%s does nothing about %s (response: %v)", states[c.state].name, c.exchange, c.response)
		}
	}
}

// forge makes a message from the other end of sa, with the next message ID and
// valid keys if there are any.
func forge(sa *SA, x ike.ExchangeType, response bool) []byte {
	return forgeWith(sa, x, response, plausible(x, response))
}

func forgeWith(sa *SA, x ike.ExchangeType, response bool, ps []wire.Payload) []byte {
	h := ike.Header{SPIi: sa.spiI, SPIr: sa.spiR, Major: 2, Exchange: x, MessageID: sa.win.expect}
	if !sa.first {
		h.Flags |= ike.FlagInitiator
	}
	if response {
		h.Flags |= ike.FlagResponse
		if p := sa.win.pending; p != nil {
			h.MessageID = p.id
		}
	}
	if x == ike.SAInit || sa.keys.d.Len() == 0 || bytes.Count(sa.keys.d.Bytes(), []byte{0}) == sa.keys.d.Len() {
		return wire.Append(nil, h, ps...)
	}
	i, r, err := sa.keys.ciphers(sa.chosen)
	if err != nil {
		panic(err)
	}
	if sa.first {
		i = r
	}
	return wire.Seal(nil, h, ps, i)
}

func plausible(x ike.ExchangeType, response bool) []wire.Payload {
	c := suite.DefaultESP(false)
	child := []wire.Payload{saPayload(c[:1], []byte{1, 2, 3, 4}),
		wire.NewTSi([]ipsec.TS{{Start: epochAddr, End: epochAddr}}), wire.NewTSr([]ipsec.TS{{Start: epochAddr, End: epochAddr}})}
	nonce := wire.Nonce{Data: make([]byte, 32)}
	switch x {
	case ike.SAInit:
		return []wire.Payload{saPayload(suite.DefaultIKE()[:1], nil), wire.KE{Group: 31, Data: bytes.Repeat([]byte{9}, 32)}, nonce}
	case ike.Auth:
		auth := wire.AUTH{Method: 2, Data: make([]byte, 32)}
		if response {
			return append([]wire.Payload{wire.NewIDr(id("@east")), auth}, child...)
		}
		return append([]wire.Payload{wire.NewIDi(id("@west")), auth}, child...)
	case ike.CreateChild:
		return append(child, nonce)
	}
	return nil
}

var epochAddr = hostTS(newNode(nil, "x", "10.0.0.1:500", 0).addr.Addr(), 0, 0, true).Start

// TestReplayedMessages keeps every message of a life with everything in it, and
// plays each one again to both ends at every later point. Nothing may change,
// and all that may come back is what was answered before (I12, V2S-03).
func TestReplayedMessages(t *testing.T) {
	p := newPair(t, 31)
	var captured []datagram
	replays := 0
	try := func() {
		for _, d := range captured {
			for _, n := range []*node{p.west, p.east} {
				var before []string
				for _, m := range n.machines {
					before = append(before, digest(m.(*SA)))
				}
				machines, plane, reports, sent := len(n.machines), len(n.plane), len(n.reports), len(p.sent)
				flying := slices.Clone(p.flying)
				if n == d.to {
					n.receive(d.Send)
				} else { // thrown back at who sent it
					for _, m := range slices.Clone(n.machines) {
						n.step(m, ike.Received{Local: d.Local, Remote: d.Remote, Msg: bytes.Clone(d.Msg)})
					}
				}
				replays++
				fresh := p.sent[sent:]
				p.flying = flying
				p.sent = p.sent[:sent]
				if len(n.machines) != machines || len(n.plane) != plane || len(n.reports) != reports {
					if exchangeOf(d) == ike.SAInit && !responseOf(d) && n == p.east {
						// An IKE_SA_INIT from long ago makes a half-open IKE SA
						// like any other; take it away again.
						p.east.machines = p.east.machines[:machines]
						p.east.reports = p.east.reports[:reports]
						p.east.gate = NewGate(p.east.cfg, Limits{})
						continue
					}
					t.Fatalf("%s: a repeated %s did something\n%s", n.name, exchangeOf(d), p)
				}
				for i, m := range n.machines {
					if digest(m.(*SA)) != before[i] {
						t.Fatalf("%s: a repeated %s changed a state\n%s", n.name, exchangeOf(d), p)
					}
				}
				for _, f := range fresh {
					if !slices.ContainsFunc(p.sent[:sent], func(c datagram) bool { return bytes.Equal(c.Msg, f.Msg) }) {
						t.Fatalf("%s: a repeated %s is answered by something new", n.name, exchangeOf(d))
					}
				}
			}
		}
	}
	deliver := func() {
		for len(p.flying) > 0 {
			d := p.flying[0]
			p.flying = p.flying[1:]
			d.to.receive(d.Send)
			captured = append(captured, d)
			try()
			p.now = p.now.Add(time.Minute) // for the token buckets
		}
	}
	w := p.west.initiate()
	deliver()
	e := p.east.machines[0].(*SA)
	p.west.step(w, ike.Rekey{Child: w.children[0].serial})
	deliver()
	p.east.step(e, ike.Probe{})
	deliver()
	p.east.step(e, ike.Rekey{})
	deliver()
	n := e.successor
	p.east.step(n, ike.Delete{Child: n.children[0].serial})
	deliver()
	p.east.step(n, ike.Delete{})
	deliver()
	if replays < 300 {
		t.Errorf("only %d replays", replays)
	}
}

// TestDeterminism tells the same story twice from the same seed: every octet on
// the wire is the same (I15).
func TestDeterminism(t *testing.T) {
	story := func() (all [][]byte) {
		p := newPair(t, 77)
		w, e := p.up()
		p.west.step(w, ike.Rekey{Child: w.children[0].serial})
		p.east.step(e, ike.Rekey{Child: e.children[0].serial})
		p.settle()
		p.east.step(e, ike.Rekey{})
		p.west.step(w, ike.Rekey{})
		p.settle()
		p.pass(24 * time.Hour)
		for _, d := range p.sent {
			all = append(all, d.Msg)
		}
		return all
	}
	a, b := story(), story()
	if len(a) < 30 || !slices.EqualFunc(a, b, bytes.Equal) {
		t.Errorf("%d and %d messages, not the same", len(a), len(b))
	}
}
