package whack

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"cygnet/internal/ipsec"
	"cygnet/internal/rawkey"
)

// Operations on the data plane by hand: those of ipsec manual, spi, spigrp,
// eroute, tncfg and klipsdebug. They work with IKE and without.
const (
	OpManualUp      Op = "manual-up"      // Args.Name or Parts, Iam, Config
	OpManualDown    Op = "manual-down"    // Args.Name
	OpManualRoute   Op = "manual-route"   // as OpManualUp
	OpManualUnroute Op = "manual-unroute" // Args.Name

	OpAddSA    Op = "spi-add"    // Args.SA
	OpDelSA    Op = "spi-del"    // Args.SAIDs: one
	OpClearSAs Op = "spi-clear"  // all that were made by hand
	OpGroup    Op = "spigrp-set" // Args.SAIDs: innermost first; one: take its group apart

	OpErouteAdd     Op = "eroute-add" // Args.Eroute
	OpErouteAddIn   Op = "eroute-addin"
	OpErouteReplace Op = "eroute-replace"
	OpErouteDel     Op = "eroute-del"
	OpErouteClear   Op = "eroute-clear"

	OpAttach     Op = "tncfg-attach" // Args.Virtual, Physical
	OpDetach     Op = "tncfg-detach" // Args.Virtual
	OpDetachAll  Op = "tncfg-clear"
	OpKlipsDebug Op = "klipsdebug-set" // Args.Debug: +class, -class, all, none

	OpGroups     Op = "spigrp"     // Groups
	OpDevices    Op = "tncfg"      // Devices
	OpKlipsFlags Op = "klipsdebug" // KlipsFlags
)

// SASpec describes an SA to be made.
type SASpec struct {
	Said   string     `json:"said"`
	Src    netip.Addr `json:"source"`
	ESP    string     `json:"esp,omitempty"` // transform; at most one of the three
	AH     string     `json:"ah,omitempty"`
	Comp   string     `json:"comp,omitempty"`
	Encr   Key        `json:"encr_key,omitzero"`
	Auth   Key        `json:"auth_key,omitzero"`
	Replay int        `json:"replay_window,omitempty"`
	Life   string     `json:"life,omitempty"` // ITEM=N,ITEM=N
}

// ErouteSpec describes an eroute to be made or deleted.
type ErouteSpec struct {
	Src     netip.Prefix `json:"source"`
	Dst     netip.Prefix `json:"destination"`
	Proto   uint8        `json:"protocol,omitempty"`
	SrcPort uint16       `json:"source_port,omitempty"` // 0: any
	DstPort uint16       `json:"destination_port,omitempty"`
	Said    string       `json:"said,omitempty"` // not with eroute-del
}

// Selector is what the eroute covers.
func (e *ErouteSpec) Selector() ipsec.Selector {
	ports := func(p uint16) ipsec.Ports { return ipsec.Ports{Lo: p, Hi: p} }
	return ipsec.Selector{Src: e.Src.Masked(), Dst: e.Dst.Masked(), Proto: e.Proto, SrcPorts: ports(e.SrcPort), DstPorts: ports(e.DstPort)}
}

// Key carries a secret over the socket, where JSON may see it; nothing else
// prints it.
type Key struct{ ipsec.Secret }

// MarshalJSON implements json.Marshaler.
func (k Key) MarshalJSON() ([]byte, error) {
	return json.Marshal("0x" + hex.EncodeToString(k.Bytes()))
}

// UnmarshalJSON implements json.Unmarshaler.
func (k *Key) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	data, err := rawkey.Data(text)
	if err != nil {
		return err
	}
	k.Secret = ipsec.NewSecret(data)
	return nil
}

// IsZero makes omitzero leave out a key that is not given.
func (k Key) IsZero() bool { return k.Len() == 0 }

// Bounds of requests by hand.
const (
	maxParts   = 32
	maxSAIDs   = 4
	maxDevName = 15 // IFNAMSIZ without its final zero
)

// checkByHand completes Request.check.
func (r Request) checkByHand() error {
	a := &r.Args
	switch r.Op {
	case OpManualUp, OpManualRoute:
		if (a.Name == "") == (len(a.Parts) == 0) || len(a.Parts) > maxParts {
			return fmt.Errorf("%s needs the name of a connection or up to %d parts of one", r.Op, maxParts)
		}
	case OpAddSA:
		if a.SA == nil {
			return fmt.Errorf("%s needs an SA", r.Op)
		}
		return checkSAIDs([]string{a.SA.Said})
	case OpDelSA, OpGroup:
		if n := len(a.SAIDs); n == 0 || n > maxSAIDs || n > 1 && r.Op == OpDelSA {
			return fmt.Errorf("%s: %d SAs are not what it takes", r.Op, n)
		}
		return checkSAIDs(a.SAIDs)
	case OpErouteAdd, OpErouteAddIn, OpErouteReplace:
		if err := a.Eroute.check(); err != nil {
			return fmt.Errorf("%s: %w", r.Op, err)
		}
		return checkSAIDs([]string{a.Eroute.Said})
	case OpErouteDel:
		if err := a.Eroute.check(); err != nil {
			return fmt.Errorf("%s: %w", r.Op, err)
		}
	case OpAttach, OpDetach:
		for _, name := range []string{a.Virtual, a.Physical} {
			if len(name) > maxDevName || strings.ContainsAny(name, "/ \t\n\x00") {
				return fmt.Errorf("%q is not the name of a device", clip(name))
			}
		}
		if a.Virtual == "" || a.Physical == "" && r.Op == OpAttach {
			return fmt.Errorf("%s needs the names of devices", r.Op)
		}
	}
	return nil
}

func checkSAIDs(list []string) error {
	for _, s := range list {
		if _, err := ipsec.ParseSAID(s); err != nil {
			return err
		}
	}
	return nil
}

func (e *ErouteSpec) check() error {
	switch {
	case e == nil || !e.Src.IsValid() || !e.Dst.IsValid():
		return fmt.Errorf("source and destination are needed")
	case e.Src.Addr().Is4() != e.Dst.Addr().Is4():
		return fmt.Errorf("%s and %s are of different address families", e.Src, e.Dst)
	case (e.SrcPort != 0 || e.DstPort != 0) && e.Proto != 6 && e.Proto != 17:
		return fmt.Errorf("ports are for protocols tcp and udp only") // E2
	}
	return nil
}

// Groups is which SAs are applied together, for `ipsec spigrp`.
type Groups struct {
	Schema int        `json:"schema"`
	Groups [][]string `json:"groups"` // innermost first
}

// Lines is one line per group (freeswan.md 4.10).
func (g *Groups) Lines() []string {
	var out []string
	for _, ids := range g.Groups {
		out = append(out, strings.Join(ids, " ")+" ")
	}
	return out
}

// Devices is what virtual devices are attached to, for `ipsec tncfg`.
type Devices struct {
	Schema  int      `json:"schema"`
	Devices []Device `json:"devices"` // Physical is empty where it is unattached
}

// Lines is one line per device (freeswan.md 4.11).
func (d *Devices) Lines() []string {
	var out []string
	for _, v := range d.Devices {
		if v.Physical == "" {
			out = append(out, fmt.Sprintf("%s -> NULL mtu=0(0) -> 0", v.Virtual))
			continue
		}
		out = append(out, fmt.Sprintf("%s -> %s mtu=%d(%d) -> %d", v.Virtual, v.Physical, v.MTU, v.EffectiveMTU, v.PhysicalMTU))
	}
	return out
}

// KlipsClasses are what klipsdebug= may name (freeswan.md 4.12).
var KlipsClasses = []string{"tunnel", "tunnel-xmit", "pfkey", "xform", "eroute", "spi", "netlink", "esp", "ah", "rcv", "ipcomp", "radij", "verbose"}

// KlipsFlags is which of them are on, for `ipsec klipsdebug`.
type KlipsFlags struct {
	Schema int      `json:"schema"`
	On     []string `json:"on"`
}

// Lines is one line for each of FreeS/WAN's flag words.
func (k *KlipsFlags) Lines() []string {
	var out []string
	for _, c := range []string{"tunnel", "xform", "eroute", "spi", "radij", "esp", "ah", "rcv", "pfkey"} {
		word := 0
		for _, on := range k.On {
			if on == c || c == "tunnel" && on == "tunnel-xmit" {
				word |= klipsBit(on)
			}
		}
		out = append(out, fmt.Sprintf("debug_%s=%08x.", c, word))
	}
	return out
}

// klipsBit is the bit of a class in its word; only tunnel's has two.
func klipsBit(class string) int {
	if class == "tunnel-xmit" {
		return 2
	}
	return 1
}
