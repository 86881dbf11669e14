package pluto

import (
	"crypto/sha256"
	"fmt"
	"runtime/debug"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// A fault in a machine, which shows as a panic, costs the IKE SA in which it
// happened and no other: what a machine knows is its own, and what it wanted done
// is not begun yet. adversary.md CRS-11.

const (
	faultTries  = 3    // the same message may fail that often; then it is dropped unread
	maxPoisons  = 64   // messages of that kind that are known
	maxFaultLog = 2000 // octets of the stack that the log shows
)

// poisons counts the messages that have made machines panic, by their hash.
type poisons struct {
	count  map[[sha256.Size]byte]int
	oldest [][sha256.Size]byte
}

// known reports whether a message has failed too often. While none has, nothing
// is computed.
func (p *poisons) known(msg []byte) bool {
	return len(p.count) > 0 && p.count[sha256.Sum256(msg)] >= faultTries
}

// add notes that a message has failed once more. The oldest gives way when there
// are too many.
func (p *poisons) add(msg []byte) {
	if p.count == nil {
		p.count = map[[sha256.Size]byte]int{}
	}
	h := sha256.Sum256(msg)
	if p.count[h]++; p.count[h] > 1 {
		return
	}
	if p.oldest = append(p.oldest, h); len(p.oldest) > maxPoisons {
		delete(p.count, p.oldest[0])
		p.oldest = p.oldest[1:]
	}
}

// contained runs one step of a machine or of the gate, and reports whether it
// ended as it should.
func (d *Daemon) contained(who string, ev ike.Event, step func()) (ok bool) {
	// A machine may write into a message that it was given, so a copy is what is
	// known by its hash afterwards.
	var copied []byte
	if r, is := ev.(ike.Received); is {
		copied = append(d.lastMessage[:0], r.Msg...)
		d.lastMessage = copied
	}
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		d.tally.contained++
		if copied != nil {
			d.poisons.add(copied)
		}
		if d.admit("fault") {
			stack := debug.Stack()
			d.log.Error(fmt.Sprintf("internal error in %s: %v (please report this): %s", who, p, stack[:min(len(stack), maxFaultLog)]))
		}
	}()
	step()
	return true
}

// abandon ends an IKE SA whose machine has failed. Nobody can tell the peer,
// which finds out by its liveness check or by our next call.
func (d *Daemon) abandon(m ike.Machine) {
	for _, id := range d.carriedBy(m.Serial()) {
		d.removeSA(id)
	}
	d.unregister(m)
	why := &ike.Failure{Reason: ike.ReasonOther, Why: "an internal error"}
	d.report(m, ike.Report{Serial: m.Serial(), Fact: ike.IKEDown{Why: why}})
}

// carriedBy lists the SAs that were negotiated by an IKE SA.
func (d *Daemon) carriedBy(serial uint32) (ids []ipsec.SAID) {
	for _, v := range d.table.Views() {
		for _, c := range v.Children {
			if c.IKE == serial {
				ids = append(append(ids, c.Up.Ins()...), c.Up.Outs()...)
			}
		}
	}
	return ids
}
