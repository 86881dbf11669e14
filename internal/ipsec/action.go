package ipsec

import (
	"fmt"
	"net/netip"
)

// Action is what a policy does with a packet. The shunts and Protect are one
// enumeration, so a policy can never be half of each.
type Action uint8

// The actions. The zero value is Drop: a policy that nobody filled in does not
// leak.
const (
	Drop    Action = iota // discard silently
	Pass                  // send as it is by the physical device
	Reject                // discard, and tell the sender (ICMP administratively prohibited)
	Hold                  // discard but keep the first and the newest packet until the policy changes
	Trap                  // report Acquire, then Hold the flow
	Protect               // apply the SA bundle
)

// Magic SPIs of the shunts (freeswan.md 5.2).
var shuntSPI = map[Action]SPI{Pass: 0x100, Drop: 0x101, Reject: 0x102, Hold: 0x103, Trap: 0x104}

// String is the shunt's name with its percent sign; Protect prints "protect".
func (a Action) String() string {
	switch a {
	case Drop:
		return "%drop"
	case Pass:
		return "%pass"
	case Reject:
		return "%reject"
	case Hold:
		return "%hold"
	case Trap:
		return "%trap"
	case Protect:
		return "protect"
	}
	return fmt.Sprintf("%%unk-%d", uint8(a))
}

// MarshalText is String, for JSON output.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// SAID returns the pseudo SA under which KLIPS lists the shunt.
func (a Action) SAID() SAID { return SAID{netip.IPv4Unspecified(), Int, shuntSPI[a]} }

func shuntName(spi SPI) string {
	for a, s := range shuntSPI {
		if s == spi {
			return a.String()
		}
	}
	if spi == 0x105 {
		return "%trapsubnet"
	}
	return fmt.Sprintf("%%unk-%d", uint32(spi))
}

func parseShunt(text string) (SAID, error) {
	switch text {
	case "%passthrough", "%passthrough4":
		return SAID{netip.IPv4Unspecified(), Tun, 0}, nil
	case "%passthrough6":
		return SAID{netip.IPv6Unspecified(), Tun, 0}, nil
	case "%trapsubnet":
		return SAID{netip.IPv4Unspecified(), Int, 0x105}, nil
	}
	for a := range shuntSPI {
		if a.String() == text {
			return a.SAID(), nil
		}
	}
	return SAID{}, fmt.Errorf("unknown shunt %q", text)
}
