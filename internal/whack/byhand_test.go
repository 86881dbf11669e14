package whack

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cygnet/internal/ipsec"
)

// A key goes over the socket and nowhere else.
func TestKeyOnTheWireOnly(t *testing.T) {
	r := Request{Op: OpAddSA, Args: Args{SA: &SASpec{Said: "esp0x200@192.0.2.1", Encr: Key{ipsec.NewSecret([]byte("hunter2hunter2"))}}}}
	line, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	const hex = "68756e74657232"
	if !strings.Contains(string(line), hex) || strings.Contains(string(line), "auth_key") {
		t.Errorf("request %s", line)
	}
	back, err := DecodeRequest(line)
	if err != nil || !back.Args.SA.Encr.Equal(r.Args.SA.Encr.Secret) {
		t.Errorf("decoded: %v", err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		for _, v := range []any{r, back, r.Args.SA, *r.Args.SA, r.Args.SA.Encr} {
			if shown := fmt.Sprintf(verb, v); strings.Contains(shown, "hunter2") || strings.Contains(shown, hex) {
				t.Errorf("%s shows the key: %s", verb, shown)
			}
		}
	}
}

// CTL-03: requests by hand that make no sense do not reach the daemon.
func TestBadRequestsByHand(t *testing.T) {
	for line, want := range map[string]string{
		`{"op":"manual-up"}`: "needs the name of a connection or up to 32 parts",
		`{"op":"manual-up","args":{"name":"a","parts":["b"]}}`: "needs the name of a connection or up to 32 parts",
		`{"op":"manual-down"}`:                                 "needs the name",
		`{"op":"spi-add"}`:                                     "needs an SA",
		`{"op":"spi-add","args":{"sa":{"said":"fish"}}}`:       "has no @",
		`{"op":"spi-add","args":{"sa":{"said":"esp0x200@192.0.2.1","encr_key":"hunter2"}}}`: "key data must begin",
		`{"op":"spi-del","args":{"saids":["esp0x200@192.0.2.1","esp0x201@192.0.2.1"]}}`:     "not what it takes",
		`{"op":"spigrp-set"}`: "0 SAs are not what it takes",
		`{"op":"eroute-add"}`: "source and destination are needed",
		`{"op":"eroute-add","args":{"eroute":{"source":"10.0.0.0/8","destination":"2001:db8::/32","said":"%drop"}}}`:                                 "different address families",
		`{"op":"eroute-add","args":{"eroute":{"source":"10.0.0.0/8","destination":"10.0.0.0/8","destination_port":80,"protocol":1,"said":"%drop"}}}`: "ports are for protocols tcp and udp only",
		`{"op":"eroute-add","args":{"eroute":{"source":"10.0.0.0/8","destination":"10.0.0.0/8","said":"%fish"}}}`:                                    "unknown shunt",
		`{"op":"tncfg-attach","args":{"virtual":"ipsec0"}}`:                                                                                          "needs the names of devices",
		`{"op":"tncfg-attach","args":{"virtual":"ipsec0","physical":"../eth0"}}`:                                                                     "is not the name of a device",
	} {
		if _, err := DecodeRequest([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a key: %v", err)
		}
	}
}

// freeswan.md 4.10 to 4.12.
func TestTablesByHand(t *testing.T) {
	g := &Groups{Groups: [][]string{{"tun0x1002@198.51.100.1", "esp0x5f3c9a11@198.51.100.1"}}}
	if got := g.Lines(); !slices.Equal(got, []string{"tun0x1002@198.51.100.1 esp0x5f3c9a11@198.51.100.1 "}) {
		t.Errorf("spigrp %q", got)
	}
	d := &Devices{Devices: []Device{{"ipsec0", "eth0", 16260, 1443, 1500}, {Virtual: "ipsec1"}}}
	if got := d.Lines(); !slices.Equal(got, []string{"ipsec0 -> eth0 mtu=16260(1443) -> 1500", "ipsec1 -> NULL mtu=0(0) -> 0"}) {
		t.Errorf("tncfg %q", got)
	}
	k := &KlipsFlags{On: []string{"tunnel", "tunnel-xmit", "rcv"}}
	got := k.Lines()
	if got[0] != "debug_tunnel=00000003." || got[1] != "debug_xform=00000000." || got[7] != "debug_rcv=00000001." || len(got) != 9 {
		t.Errorf("klipsdebug %q", got)
	}
}
