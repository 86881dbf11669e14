package whack

import (
	"fmt"
	"net/netip"
)

// Policy is what policy groups and opportunistic encryption do, for `ipsec
// policy`.
type Policy struct {
	Schema  int           `json:"schema"`
	Groups  []PolicyGroup `json:"groups"`
	Flows   []Flow        `json:"flows"`
	Counts  FlowCounts    `json:"counts"`
	Captive int64         `json:"captive,omitempty"` // seconds that a captive portal is still borne with
	Explain *Explanation  `json:"explain,omitempty"`
}

// PolicyGroup is one policy group of one address family, or packetdefault.
type PolicyGroup struct {
	Name    string         `json:"name"`
	Mode    string         `json:"oe,omitempty"` // yes, responder or no; empty: a shunt only
	Without string         `json:"without"`      // what packets meet without a tunnel
	Sources []netip.Prefix `json:"sources"`
	Entries int            `json:"entries"`
}

// Flow is one pair of hosts that a group has to do with.
type Flow struct {
	Src        netip.Addr `json:"source"`
	Dst        netip.Addr `json:"destination"`
	Group      string     `json:"group"`
	State      string     `json:"state"` // asking, negotiating, encrypted, clear or denied
	Seconds    int64      `json:"seconds"`
	Level      string     `json:"level,omitempty"` // of the peer's authentication
	Gateway    netip.Addr `json:"gateway,omitzero"`
	Connection string     `json:"connection,omitempty"`
	Cause      string     `json:"cause,omitempty"`
	Reason     string     `json:"reason,omitempty"`
}

// FlowCounts count flows since the start.
type FlowCounts struct {
	Begun   uint64 `json:"begun"`
	Tunnels uint64 `json:"tunnels"`
	Clear   uint64 `json:"clear"`
	Denied  uint64 `json:"denied"`
	Limited uint64 `json:"limited"` // not begun because of a limit
}

// FlowSpec is a packet to be explained.
type FlowSpec struct {
	Src     netip.Addr `json:"source"`
	Dst     netip.Addr `json:"destination"`
	Proto   uint8      `json:"protocol,omitempty"`
	SrcPort uint16     `json:"source_port,omitempty"`
	DstPort uint16     `json:"destination_port,omitempty"`
}

// Explanation is which policy decides about a packet.
type Explanation struct {
	Flow     FlowSpec `json:"flow"`
	Rule     string   `json:"rule,omitempty"`
	Selector string   `json:"selector,omitempty"`
	Action   string   `json:"action"`
	Why      string   `json:"why"`
}

// Lines is the text of `ipsec policy`.
func (p *Policy) Lines() []string {
	if p.Explain != nil {
		return []string{p.Explain.line()}
	}
	var out []string
	for _, g := range p.Groups {
		line := fmt.Sprintf("group %-20s %6d entries, without a tunnel %s", g.Name, g.Entries, g.Without)
		if g.Mode != "" {
			line += ", opportunistic: " + g.Mode
		}
		out = append(out, line)
	}
	for _, f := range p.Flows {
		out = append(out, f.line())
	}
	if p.Captive > 0 {
		out = append(out, captiveLine(p.Captive))
	}
	c := p.Counts
	return append(out, fmt.Sprintf("flows begun %d, tunnels %d, clear %d, denied %d, beyond limits %d", c.Begun, c.Tunnels, c.Clear, c.Denied, c.Limited))
}

func captiveLine(seconds int64) string {
	return fmt.Sprintf("captive: for %ds more, bogus answers of the DNS count as none", seconds)
}

func (f *Flow) line() string {
	line := fmt.Sprintf("%s -> %s %s by %s, %ds", f.Src, f.Dst, f.State, f.Group, f.Seconds)
	if f.Gateway.IsValid() {
		line += fmt.Sprintf(", gateway %s, authentication %s", f.Gateway, f.Level)
	}
	if f.Cause != "" {
		line += fmt.Sprintf(": %s (%s)", f.Reason, f.Cause)
	}
	return line
}

func (e *Explanation) line() string {
	if e.Rule == "" {
		return fmt.Sprintf("%s -> %s: %s", e.Flow.Src, e.Flow.Dst, e.Why)
	}
	return fmt.Sprintf("%s -> %s: %s by %s (%s): %s", e.Flow.Src, e.Flow.Dst, e.Action, e.Rule, e.Selector, e.Why)
}
