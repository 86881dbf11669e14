package oe

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// result is what one question came to: records, or the cause of there being
// none. A result that is not ready waits for an answer.
type result struct {
	ready bool
	recs  []Record
	weak  bool // the answer was insecure and is accepted
	cause Cause
	why   string
}

func (r result) usable() bool { return r.ready && len(r.recs) > 0 }

// worse is the one of two fruitless results whose cause weighs more.
func worse(a, b result) result {
	if b.cause > a.cause {
		return b
	}
	return a
}

// records looks for records of the types at a name. All are asked for at once;
// an earlier type that is there beats a later one, and what a later one holds
// is not waited for then (opportunistic.md 4.2).
func (e *evaluation) records(name string, types []uint16) result {
	none := result{ready: true}
	answers := make([]result, len(types))
	for n, t := range types {
		answers[n] = e.answer(Query{name, t})
	}
	for n, r := range answers {
		switch {
		case !r.ready:
			e.pending = true
			return result{}
		case r.usable():
			a, _ := e.ask(Query{name, types[n]})
			e.uses(a)
			return r
		}
		none = worse(none, r)
	}
	for _, t := range types { // to know that there is nothing rests on all answers
		a, _ := e.ask(Query{name, t})
		e.uses(a)
	}
	return none
}

// answer judges the answer to one query by opportunistic.md 8.1.
func (e *evaluation) answer(q Query) result {
	a, known := e.ask(q)
	if !known {
		return result{}
	}
	if r, failed := judge(q, a, e.i.opts.AcceptInsecure); failed {
		return r
	}
	r := e.parse(q, a.Raw)
	r.weak = a.Security != Secure
	return r
}

// judge says whether the answer is of no use, and why.
func judge(q Query, a Answer, acceptInsecure bool) (r result, failed bool) {
	r.ready = true
	switch {
	case a.Security == Bogus:
		r.cause, r.why = CauseBogus, fmt.Sprintf("%s: DNSSEC validation failed (%s)", q, a.Why)
	case a.Security == Indeterminate:
		r.cause, r.why = CauseDNS, fmt.Sprintf("%s: %s", q, a.Why)
	case a.Security == Insecure && !(acceptInsecure && a.Found):
		r.cause, r.why = CauseInsecure, fmt.Sprintf("%s: the answer is not protected by DNSSEC", q)
	case !a.Found:
		r.cause, r.why = CauseNoRecord, fmt.Sprintf("%s: no record", q)
	}
	return r, r.cause != CauseNone
}

// parse reads records, the first 16 of them, lowest precedence first.
func (e *evaluation) parse(q Query, raw [][]byte) result {
	r := result{ready: true, cause: CauseNoRecord, why: fmt.Sprintf("%s: no record about IPsec", q)}
	if len(raw) > maxRecords {
		e.ignore("%s: %d records beyond the first %d", q, len(raw)-maxRecords, maxRecords)
		raw = raw[:maxRecords]
	}
	for _, rdata := range raw {
		rec, err := ParseRecord(q.Type, rdata, e.i.opts.MaxRSA)
		if err == nil {
			r.recs = append(r.recs, rec)
			continue
		}
		bad := result{ready: true, cause: CauseUnusableKey, why: fmt.Sprintf("%s: %v", q, err)}
		switch {
		case errors.Is(err, ErrForeign):
			continue
		case errors.Is(err, ErrMalformed):
			bad.cause = CauseMalformed
		}
		e.ignore("%s", bad.why)
		if bad.cause > r.cause {
			r.cause, r.why = bad.cause, bad.why
		}
	}
	slices.SortStableFunc(r.recs, func(a, b Record) int { return cmp.Compare(a.Precedence, b.Precedence) })
	return r
}

// gatewayTypes are the types of records that name a gateway, best first.
func (o Options) gatewayTypes() []uint16 {
	if o.TXT {
		return []uint16{TypeIPSECKEY, TypeTXT}
	}
	return []uint16{TypeIPSECKEY}
}

// keyTypes are those that hold the key of a gateway at its own name.
func (o Options) keyTypes() []uint16 {
	if o.KEY {
		return append(o.gatewayTypes(), TypeKEY)
	}
	return o.gatewayTypes()
}
