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
		code int
		want string
	}{
		{State{133, "STATE_V2_PARENT_I1", "sent"}, 133, "STATE_V2_PARENT_I1: sent"},
		{IKEUp{Remote: netip.MustParseAddrPort("192.0.2.2:4500"), RemoteID: ID{IDFQDN, "east"}, Suite: "X", Encap: true}, 4,
			"IKE SA established with @east at 192.0.2.2:4500 {X} in UDP"},
		{IKEUp{Remote: netip.MustParseAddrPort("192.0.2.2:500"), RemoteID: ID{IDFQDN, "east"}, Suite: "X", Rekeyed: 3}, 4,
			"IKE SA established with @east at 192.0.2.2:500 {X}, replaces #3"},
		{ChildUp{In: in, Out: out, Suite: "AES_GCM_16_256"}, 4,
			"IPsec SA established tunnel mode {ESP=>0x5f3c9a11 <0x8e0124d7 AES_GCM_16_256}"},
		{ChildUp{In: in, Out: out, Suite: "X", Mode: ipsec.Transport, Encap: ipsec.Encap{LocalPort: 4500, RemotePort: 4500}, Rekeyed: 2}, 4,
			"IPsec SA established transport mode {ESPinUDP=>0x5f3c9a11 <0x8e0124d7 X}, replaces #2"},
		{ChildUp{In: in, Out: out, Suite: "X", InBundle: []ipsec.SAID{{Dst: in.Dst, Proto: ipsec.Comp, SPI: 0x2001}, in}, OutBundle: []ipsec.SAID{{Dst: out.Dst, Proto: ipsec.Comp, SPI: 2}, out}}, 4,
			"IPsec SA established tunnel mode {ESP=>0x5f3c9a11 <0x8e0124d7 IPCOMP=>0x00000002 <0x00002001 X}"},
		{ChildDown{In: ipsec.SAID{Proto: ipsec.AH, SPI: 0x1001}, Out: ipsec.SAID{Proto: ipsec.AH, SPI: 0x1002}}, 3, "deleting IPsec SA {AH=>0x00001002 <0x00001001}"},
		{ChildUse{}, 4, "IPsec SA in use: the peer is ready"},
		{ChildDown{In: in, Out: out}, 3, "deleting IPsec SA {ESP=>0x5f3c9a11 <0x8e0124d7}"},
		{ChildDown{In: in, Out: out, ByPeer: true}, 3, "received Delete SA(0x5f3c9a11) payload: deleting IPsec SA"},
		{ChildDown{In: in, Out: out, ByPeer: true, Replaced: true}, 3, "IPsec SA replaced {ESP=>0x5f3c9a11 <0x8e0124d7}"},
		{ChildDown{In: in, Out: out, Why: why}, 3, "IPsec SA deleted: nobody answers {ESP=>0x5f3c9a11 <0x8e0124d7}"},
		{IKEDown{}, 3, "deleting IKE SA"},
		{IKEDown{ByPeer: true}, 3, "received Delete SA payload: deleting IKE SA"},
		{IKEDown{Rekeyed: true}, 3, "IKE SA replaced"},
		{IKEDown{Why: why}, 3, "IKE SA deleted: nobody answers"},
		{Retransmit{"STATE_V2_PARENT_I1", 2, 1500 * time.Millisecond}, 10, "STATE_V2_PARENT_I1: retransmission 2; will wait 1.5s for response"},
		{Failed{Why: why}, 31, "nobody answers"},
		{Failed{Why: &Failure{Reason: ReasonAuth, Why: "wrong key"}}, 3, "wrong key"},
		{Failed{}, 3, "failed"},
		{Note{Text: "a note"}, 3, "a note"},
	} {
		if got := c.fact.String(); got != c.want {
			t.Errorf("%T: %q, want %q", c.fact, got, c.want)
		}
		if got := Code(c.fact); got != c.code {
			t.Errorf("%T: code %d, want %d", c.fact, got, c.code)
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
