package oe

import (
	"crypto"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Options are what the configuration says about records.
type Options struct {
	TXT            bool         // read TXT X-IPsec-Server (oe-legacy-txt=)
	KEY            bool         // read KEY at a gateway's own name (oe-legacy-key=)
	MaxRSA         int          // bits (oe-rsa-max=); 0: 4096
	AcceptInsecure bool         // oe-insecure-keys=accept
	Own            []netip.Addr // addresses of this machine, which are no gateways to contact
}

// Inquiry is one thing to find out. Its user takes queries from Next and gives
// the answers to Answered, in any order, until Done; what is then still asked
// for is of no interest any more.
type Inquiry struct {
	opts     Options
	evaluate func(*evaluation) Finding
	steps    []Step
	asked    int // of steps
	done     bool
	finding  Finding
}

// Step is one question of an inquiry and what became of it.
type Step struct {
	Query    Query
	Answer   Answer
	Answered bool
}

// Offer is one pair of a gateway and a key that may speak for the address in
// question, or of one that did not.
type Offer struct {
	Addr       netip.Addr // where the gateway is; not valid if only its name is known
	Name       string     // the name by which the record called it, if it did; its identity may be that
	Precedence uint16     // lower first
	Key        crypto.PublicKey
	Type       uint16 // of the record
	Level      Level
}

// Finding is the end of an inquiry.
type Finding struct {
	Cause    Cause     // CauseNone: Offers are there
	Why      string    // one sentence for people; never empty if Cause is set
	Offers   []Offer   // by precedence
	Expires  time.Time // when the answers that led here have to be asked for again
	ProofEnd time.Time // when the first of their signatures ends; zero: unknown
	Ignored  []string  // why records were passed over
	Steps    []Step    // what was asked, in order
}

func newInquiry(o Options, evaluate func(*evaluation) Finding) *Inquiry {
	i := &Inquiry{opts: o, evaluate: evaluate}
	i.think()
	return i
}

// Next returns a query that has not been asked yet, and true; or false, when
// answers must come first or the inquiry is done.
func (i *Inquiry) Next() (Query, bool) {
	if i.done || i.asked == len(i.steps) {
		return Query{}, false
	}
	i.asked++
	return i.steps[i.asked-1].Query, true
}

// Answered tells the answer to a query of Next. One that was not asked, or was
// answered before, is ignored.
func (i *Inquiry) Answered(q Query, a Answer) {
	for n := range i.steps {
		if s := &i.steps[n]; s.Query == q && !s.Answered && !i.done {
			s.Answer, s.Answered = a, true
			i.think()
			return
		}
	}
}

// Done reports whether the finding is complete.
func (i *Inquiry) Done() bool { return i.done }

// Finding is the result once Done. Before that all open questions count as not
// answered, which is what a deadline means.
func (i *Inquiry) Finding() Finding {
	for !i.done {
		for n := range i.steps {
			if s := &i.steps[n]; !s.Answered {
				s.Answer, s.Answered = Answer{Why: "no answer in time"}, true
			}
		}
		i.think()
	}
	return i.finding
}

// think evaluates what is known. An evaluation that needs an answer it does not
// have adds the question to the steps.
func (i *Inquiry) think() {
	e := &evaluation{i: i}
	f := i.evaluate(e)
	if e.pending {
		return
	}
	f.Expires, f.ProofEnd, f.Ignored = e.expires, e.proofEnd, e.ignored
	f.Steps = slices.DeleteFunc(slices.Clone(i.steps), func(s Step) bool { return !s.Answered })
	i.finding, i.done = f, true
}

// evaluation is one pass over the answers.
type evaluation struct {
	i        *Inquiry
	pending  bool // an answer that matters is missing
	expires  time.Time
	proofEnd time.Time
	ignored  []string
}

// ask returns the answer to a query, if it is known. Whether it has to be
// waited for is the caller's decision.
func (e *evaluation) ask(q Query) (a Answer, known bool) {
	for _, s := range e.i.steps {
		if s.Query == q {
			return s.Answer, s.Answered
		}
	}
	if len(e.i.steps) == maxQueries {
		return Answer{Why: fmt.Sprintf("more than %d queries for one address", maxQueries)}, true
	}
	e.i.steps = append(e.i.steps, Step{Query: q})
	return Answer{}, false
}

// uses says that the finding rests on an answer.
func (e *evaluation) uses(a Answer) {
	e.expires = earlier(e.expires, a.Expires)
	e.proofEnd = earlier(e.proofEnd, a.ProofEnd)
}

// earlier is the earlier one of two times; zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (e *evaluation) ignore(format string, args ...any) {
	e.ignored = append(e.ignored, fmt.Sprintf(format, args...))
}
