// Package why explains a failure of IKE to people: what each side wanted, in
// what the two differ first, and which line of which file mends it. It decides
// nothing and asks nobody; pluto gives it what the connection table has kept.
// Its functions are pure and may be called from any goroutine.
package why

import (
	"fmt"
	"net/netip"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/whack"
)

// Document is the answer to `ipsec why`.
type Document struct {
	Schema      int           `json:"schema"`
	Connections []*Connection `json:"connections"`
}

// Connection is what is known of one.
type Connection struct {
	Name     string         `json:"name"`
	Up       bool           `json:"up"`
	Failures []*Explanation `json:"failures"` // newest first
}

// Explanation is one failure, explained.
type Explanation struct {
	At          time.Time      `json:"at"`
	Initiator   string         `json:"initiator"` // us or peer
	Peer        netip.AddrPort `json:"peer,omitzero"`
	RefusedBy   string         `json:"refusedBy"` // us, peer or nobody
	Reason      string         `json:"reason"`
	Text        string         `json:"text"`
	Ours        string         `json:"ours,omitempty"`   // what we want or offered
	Theirs      string         `json:"theirs,omitempty"` // the same of the peer, where it is known
	Differences []Difference   `json:"differences,omitempty"`
	Mends       []Mend         `json:"mends,omitempty"`
}

// Difference is one thing in which the sides differ.
type Difference struct {
	What   string `json:"what"`
	Ours   string `json:"ours"`
	Theirs string `json:"theirs"`
}

// Mend is something that would help: an edit of ipsec.conf if Key is given.
type Mend struct {
	Here  bool   `json:"here"` // on this machine, not the peer's
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
	File  string `json:"file,omitempty"` // ours, where the key stands, or the connection
	Line  int    `json:"line,omitempty"`
	Note  string `json:"note,omitempty"`
}

// Explain explains what has failed of a connection. Line, which may be nil, finds
// where a keyword of the connection stands in our files.
func Explain(b connection.Blamed, line func(key string) (file string, line int)) *Connection {
	c := &Connection{Name: b.Name, Up: b.Up, Failures: []*Explanation{}}
	for _, one := range b.List {
		e := explain(b.Description, one)
		for i := range e.Mends {
			if m := &e.Mends[i]; m.Here && m.Key != "" && line != nil {
				m.File, m.Line = line(m.Key)
			}
		}
		c.Failures = append(c.Failures, e)
	}
	return c
}

func explain(d *connection.Description, b connection.Blame) *Explanation {
	f := b.Why
	e := &Explanation{At: b.At, Initiator: "peer", Peer: b.Peer, RefusedBy: "us", Reason: f.Reason.String(), Text: f.Why, Ours: f.Ours, Theirs: f.Theirs}
	if b.Ours {
		e.Initiator = "us"
	}
	switch {
	case f.Reason == ike.ReasonSilent:
		e.RefusedBy = "nobody"
	case f.ByPeer:
		e.RefusedBy = "peer"
	}
	x := &explainer{Explanation: e, d: d, f: f}
	switch f.Reason {
	case ike.ReasonProposal:
		x.algorithms()
	case ike.ReasonTS:
		x.selectors()
	case ike.ReasonAuth:
		x.identities()
	case ike.ReasonSilent:
		x.silence(b)
	}
	return e
}

// Lines is the document for people.
func (d *Document) Lines() []string {
	var out []string
	for _, c := range d.Connections {
		out = append(out, c.lines()...)
	}
	if len(out) == 0 {
		out = append(out, "nothing has failed that is not up again")
	}
	return out
}

func (c *Connection) lines() []string {
	state := "not up"
	if c.Up {
		state = "up"
	}
	if len(c.Failures) == 0 {
		return []string{fmt.Sprintf("%q: %s, and nothing has failed since it was", c.Name, state)}
	}
	var out []string
	for _, e := range c.Failures {
		who := "the peer called"
		if e.Initiator == "us" {
			who = "we called"
		}
		out = append(out, fmt.Sprintf("%q: %s; at %s %s, and it failed: %s", c.Name, state, e.At.UTC().Format("2006-01-02 15:04:05 MST"), who, e.Reason))
		out = append(out, "  "+e.Text)
		out = append(out, e.sides()...)
		for _, m := range e.Mends {
			out = append(out, "  "+m.String())
		}
	}
	return out
}

// sides is what each wanted, and where they differ.
func (e *Explanation) sides() []string {
	var out []string
	if e.Ours != "" {
		out = append(out, "  ours:   "+e.Ours)
	}
	if e.Theirs != "" {
		out = append(out, "  theirs: "+e.Theirs)
	}
	for _, d := range e.Differences {
		out = append(out, fmt.Sprintf("  differs in %s: ours %s, theirs %s", d.What, d.Ours, d.Theirs))
	}
	return out
}

// String is like "mend here: ipsec.conf:12: ike=aes256-sha2_256-modp2048".
func (m Mend) String() string {
	s := "mend there: "
	if m.Here {
		s = "mend here:  "
	}
	if m.File != "" {
		s += fmt.Sprintf("%s:%d: ", m.File, m.Line)
	}
	if m.Key != "" {
		s += m.Key + "=" + m.Value
		if m.Note != "" {
			s += " (" + m.Note + ")"
		}
		return s
	}
	return s + m.Note
}

// Schema is that of whack's documents.
const Schema = whack.Schema
