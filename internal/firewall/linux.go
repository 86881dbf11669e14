package firewall

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// TableName is the name of our table, of family inet.
const TableName = "cygnet"

// Linux is the packet filter of the kernel, in one network namespace.
type Linux struct {
	o       Options
	changes chan struct{}
	watcher *netlink.Conn
	wg      sync.WaitGroup

	mu      sync.Mutex
	applied bool     // Set has succeeded once
	state   State    // what Set was last given
	rs      ruleset  // and what came of it
	handles []uint64 // the kernel's numbers of its rules
	known   bool     // nobody came between the transaction and the look at them
	gen     uint32   // the generation in which all that was so; 0: look again
	base    map[string]Counter
}

var _ Firewall = (*Linux)(nil)

// New opens the filter and changes nothing yet. The first Set replaces what an
// earlier process has left.
func New(o Options) (*Linux, error) {
	l := &Linux{o: o.filled(), changes: make(chan struct{}, 1), base: map[string]Counter{}}
	if _, err := l.generation(); err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	if err := l.watch(); err != nil {
		return nil, fmt.Errorf("watch nftables: %w", err)
	}
	return l, nil
}

// Close implements Firewall.
func (l *Linux) Close() error {
	err := l.watcher.Close()
	l.wg.Wait()
	return err
}

func table() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyINet, Name: TableName}
}

// Set implements Firewall.
func (l *Linux) Set(want State) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	gen, err := l.generation()
	if err != nil {
		return err
	}
	if l.applied && gen == l.gen && reflect.DeepEqual(want, l.state) {
		return nil
	}
	rs := render(want, l.o)
	if err := l.try(func(b *batch) error { return l.plan(b, rs) }); err != nil {
		return fmt.Errorf("set firewall: %w", err)
	}
	l.applied, l.state, l.rs = true, want.clone(), rs
	return l.learn()
}

// learn notes the numbers of our rules after a transaction.
func (l *Linux) learn() error {
	l.known = false
	k, err := l.inspect()
	if err != nil {
		return err
	}
	gen, err := l.generation()
	if err != nil {
		return err
	}
	l.handles, l.known = k.handles, gen == l.gen
	return nil
}

// clone copies what a caller may go on to use.
func (s State) clone() State {
	s.Devices, s.Forward, s.Clamp = slices.Clone(s.Devices), slices.Clone(s.Forward), slices.Clone(s.Clamp)
	s.Inbound, s.Outbound = slices.Clone(s.Inbound), slices.Clone(s.Outbound)
	return s
}

// try plans a transaction and carries it out, again if what others did in
// between has made it impossible. Afterwards gen is known only if nobody else
// did anything.
func (l *Linux) try(plan func(*batch) error) error {
	var err error
	for range attempts {
		var before, after uint32
		if before, err = l.generation(); err != nil {
			return err
		}
		var b *batch
		if b, err = l.batch(); err != nil {
			return err
		}
		if err = plan(b); err == nil && b.messages > 0 {
			err = b.conn.Flush()
		}
		if err == nil {
			if after, err = l.generation(); err != nil {
				return err
			}
			l.gen = 0
			if b.messages == 0 && after == before || b.messages > 0 && after == before+1 {
				l.gen = after
			}
			return nil
		}
		l.gen = 0
		if !slices.ContainsFunc(passing, func(e error) bool { return errors.Is(err, e) }) {
			break
		}
	}
	return err
}

// passing errors are those of a plan that was overtaken.
var passing = []error{unix.ENOENT, unix.EEXIST, unix.EBUSY, unix.EINTR, unix.EAGAIN, unix.ENOBUFS}

// inspection is what stands of our table in the kernel.
type inspection struct {
	table   bool
	chains  []string // those that Set manages
	handles []uint64 // of their rules, sorted
	sets    []string
	scripts []rawRule // what Open has made
	holding bool      // script chains are there, if only empty
}

func (l *Linux) inspect() (inspection, error) {
	var k inspection
	conn, err := l.connect()
	if err != nil {
		return k, err
	}
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return k, fmt.Errorf("list chains: %w", err)
	}
	for _, c := range chains {
		if c.Table.Name != TableName {
			continue
		}
		if c.Name == scriptsChain.name || c.Name == scriptsNATChain.name {
			k.holding = true
		} else {
			k.chains = append(k.chains, c.Name)
		}
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return k, fmt.Errorf("list tables: %w", err)
	}
	k.table = slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == TableName })
	if !k.table {
		return k, nil
	}
	sets, err := conn.GetSets(table())
	if err != nil {
		return k, fmt.Errorf("list sets: %w", err)
	}
	for _, s := range sets {
		k.sets = append(k.sets, s.Name)
	}
	rules, err := l.rules(table(), "")
	if err != nil {
		return k, err
	}
	for _, r := range rules {
		if r.chain == scriptsChain.name || r.chain == scriptsNATChain.name {
			k.scripts = append(k.scripts, r)
		} else {
			k.handles = append(k.handles, r.handle)
		}
	}
	slices.Sort(k.handles)
	return k, nil
}

// plan queues what leads from the kernel's state to rs.
func (l *Linux) plan(b *batch, rs ruleset) error {
	k, err := l.inspect()
	if err != nil {
		return err
	}
	intact := l.known && slices.Equal(k.handles, l.handles)
	if intact && sameRules(l.rs, rs) {
		b.elements(l.rs, rs)
	} else {
		if l.applied { // what others' tables counted before us is nothing to us
			if err := l.keepCounters(k); err != nil {
				return err
			}
		}
		b.replace(k, rs)
	}
	return l.planForeign(b, rs.marks || len(k.scripts) > 0)
}

// sameRules reports whether two rulesets differ in elements of sets at most.
func sameRules(a, b ruleset) bool {
	return reflect.DeepEqual(a.chains, b.chains) && slices.EqualFunc(a.sets, b.sets, func(s, t set) bool {
		return s.name == t.name && reflect.DeepEqual(s.key, t.key)
	})
}

// Remove implements Firewall.
func (l *Linux) Remove() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.try(func(b *batch) error {
		k, err := l.inspect()
		if err != nil {
			return err
		}
		if k.table {
			b.deleteTable()
		}
		return l.planForeign(b, false)
	})
	if err != nil {
		return fmt.Errorf("remove firewall: %w", err)
	}
	l.applied, l.known, l.state, l.rs, l.handles = false, false, State{}, ruleset{}, nil
	clear(l.base)
	return nil
}

// Counters implements Firewall.
func (l *Linux) Counters() ([]Counter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, err := l.inspect()
	if err != nil {
		return nil, err
	}
	sum, err := l.count(k)
	if err != nil {
		return nil, err
	}
	for name, c := range l.base {
		sum[name] = c.plus(sum[name])
	}
	var list []Counter
	for name, c := range sum {
		list = append(list, Counter{name, c.Packets, c.Bytes})
	}
	slices.SortFunc(list, func(a, b Counter) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

func (c Counter) plus(d Counter) Counter {
	return Counter{c.Name, c.Packets + d.Packets, c.Bytes + d.Bytes}
}

// keepCounters remembers what rules have counted that are about to go.
func (l *Linux) keepCounters(k inspection) error {
	k.holding = false // these stay
	sum, err := l.count(k)
	if err != nil {
		return err
	}
	for name, c := range sum {
		l.base[name] = c.plus(l.base[name])
	}
	return nil
}

// count sums the counters of our rules in the kernel by name.
func (l *Linux) count(k inspection) (map[string]Counter, error) {
	sum := map[string]Counter{}
	conn, err := l.connect()
	if err != nil {
		return nil, err
	}
	names := k.chains
	if k.holding {
		names = append(slices.Clone(names), scriptsChain.name)
	}
	for _, chain := range names {
		rules, err := conn.GetRules(table(), &nftables.Chain{Name: chain})
		if errors.Is(err, unix.ENOENT) {
			continue // gone since
		}
		if err != nil {
			return nil, fmt.Errorf("read counters: %w", err)
		}
		for _, r := range rules {
			name, ok := userdata.GetString(r.UserData, userdata.TypeComment)
			if chain == scriptsChain.name {
				name = CountScripts
			}
			for _, e := range r.Exprs {
				if c, is := e.(*expr.Counter); is && ok {
					sum[name] = Counter{name, c.Packets, c.Bytes}.plus(sum[name])
				}
			}
		}
	}
	return sum, nil
}
