package ike

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ipsec"
)

// The phrases that scripts look for, and one line for each fact.
func TestFactText(t *testing.T) {
	why := &Failure{Reason: ReasonSilent, Why: "nobody answers"}
	in := ipsec.SAID{Dst: netip.MustParseAddr("192.0.2.1"), Proto: ipsec.ESP, SPI: 0x8e0124d7}
	out := ipsec.SAID{Dst: netip.MustParseAddr("192.0.2.2"), Proto: ipsec.ESP, SPI: 0x5f3c9a11}
	for _, c := range []struct {
		fact Fact
		want string
	}{
		{State{133, "STATE_V2_PARENT_I1", "sent"}, "STATE_V2_PARENT_I1: sent"},
		{IKEUp{Remote: netip.MustParseAddrPort("192.0.2.2:4500"), RemoteID: ID{IDFQDN, "east"}, Suite: "X", Encap: true},
			"IKE SA established with @east at 192.0.2.2:4500 {X} in UDP"},
		{IKEUp{Remote: netip.MustParseAddrPort("192.0.2.2:500"), RemoteID: ID{IDFQDN, "east"}, Suite: "X", Rekeyed: 3},
			"IKE SA established with @east at 192.0.2.2:500 {X}, replaces #3"},
		{ChildUp{In: in, Out: out, Suite: "AES_GCM_16_256"},
			"IPsec SA established tunnel mode {ESP=>0x5f3c9a11 <0x8e0124d7 AES_GCM_16_256}"},
		{ChildUp{In: in, Out: out, Suite: "X", Mode: ipsec.Transport, Encap: ipsec.Encap{LocalPort: 4500, RemotePort: 4500}, Rekeyed: 2},
			"IPsec SA established transport mode {ESPinUDP=>0x5f3c9a11 <0x8e0124d7 X}, replaces #2"},
		{ChildUp{In: in, Out: out, Suite: "X", InBundle: []ipsec.SAID{{Dst: in.Dst, Proto: ipsec.Comp, SPI: 0x2001}, in}, OutBundle: []ipsec.SAID{{Dst: out.Dst, Proto: ipsec.Comp, SPI: 2}, out}},
			"IPsec SA established tunnel mode {ESP=>0x5f3c9a11 <0x8e0124d7 IPCOMP=>0x00000002 <0x00002001 X}"},
		{ChildDown{In: ipsec.SAID{Proto: ipsec.AH, SPI: 0x1001}, Out: ipsec.SAID{Proto: ipsec.AH, SPI: 0x1002}}, "deleting IPsec SA {AH=>0x00001002 <0x00001001}"},
		{ChildUse{}, "IPsec SA in use: the peer is ready"},
		{ChildDown{In: in, Out: out}, "deleting IPsec SA {ESP=>0x5f3c9a11 <0x8e0124d7}"},
		{ChildDown{In: in, Out: out, ByPeer: true}, "received Delete SA(0x5f3c9a11) payload: deleting IPsec SA"},
		{ChildDown{In: in, Out: out, ByPeer: true, Replaced: true}, "IPsec SA replaced {ESP=>0x5f3c9a11 <0x8e0124d7}"},
		{ChildDown{In: in, Out: out, Why: why}, "IPsec SA deleted: nobody answers {ESP=>0x5f3c9a11 <0x8e0124d7}"},
		{IKEDown{}, "deleting IKE SA"},
		{IKEDown{ByPeer: true}, "received Delete SA payload: deleting IKE SA"},
		{IKEDown{Rekeyed: true}, "IKE SA replaced"},
		{IKEDown{Why: why}, "IKE SA deleted: nobody answers"},
		{Retransmit{"STATE_V2_PARENT_I1", 2, 1500 * time.Millisecond}, "STATE_V2_PARENT_I1: retransmission 2; will wait 1.5s for response"},
		{Failed{Why: why}, "nobody answers"},
		{Failed{Why: &Failure{Reason: ReasonAuth, Why: "wrong key"}}, "wrong key"},
		{Failed{}, "failed"},
		{Note{Text: "a note"}, "a note"},
	} {
		if got := c.fact.String(); got != c.want {
			t.Errorf("%T: %q, want %q", c.fact, got, c.want)
		}
	}
}

// A peer's identity cannot break out of its line.
func TestFactEscapes(t *testing.T) {
	f := IKEUp{RemoteID: ID{IDFQDN, "evil\n004 \"x\" #1: IPsec SA established\x1b[2J"}}
	if s := f.String(); strings.ContainsAny(s, "\n\x1b") {
		t.Errorf("%q", s)
	}
}
