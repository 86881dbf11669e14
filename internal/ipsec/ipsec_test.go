package ipsec

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestSecretNeverPrints(t *testing.T) {
	s := NewSecret([]byte("hunter2hunter2"))
	holder := struct{ Key, key Secret }{s, s}
	asJSON, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{string(asJSON), s.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, s), fmt.Sprintf(verb, holder), fmt.Sprintf(verb, &holder))
	}
	for _, text := range shown {
		for _, leak := range []string{"hunter2", "68756e74", "68756E74", "104 117"} {
			if strings.Contains(text, leak) {
				t.Errorf("secret shows in %q", text)
			}
		}
	}
	if c := s; !c.Equal(s) || c.Equal(NewSecret([]byte("hunter2hunter3"))) {
		t.Error("Equal")
	}
	s.Wipe()
	if s.Bytes()[0] != 0 {
		t.Error("Wipe left the octets")
	}
}

// freeswan.md 8.3 item 8.
func TestParseSAID(t *testing.T) {
	for text, want := range map[string]string{
		"tun.1002@1.2.3.4":   "tun0x1002@1.2.3.4",
		"tun0x1002@1.2.3.4":  "tun0x1002@1.2.3.4",
		"esp:5@2001:db8::1":  "esp0x5@2001:db8::1",
		"comp0x8c41@1.2.3.4": "comp0x8c41@1.2.3.4",
		"%trap":              "%trap",
		"%passthrough":       "tun0x0@0.0.0.0",
		"%passthrough6":      "tun0x0@::",
	} {
		got, err := ParseSAID(text)
		if err != nil || got.String() != want {
			t.Errorf("ParseSAID(%q) = %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "esp0x5", "foo0x5@1.2.3.4", "esp0xzz@1.2.3.4", "esp0x12345678a@1.2.3.4", "esp5@1.2.3.4", "esp0x5@nowhere", "%fish"} {
		if got, err := ParseSAID(text); err == nil {
			t.Errorf("ParseSAID(%q) = %v, want an error", text, got)
		}
	}
}

func TestStatusForm(t *testing.T) {
	a := SAID{netip.MustParseAddr("198.51.100.1"), ESP, 0x5f3c9a11}
	b := SAID{netip.MustParseAddr("2001:db8::1"), Tun, 0x1002}
	if a.Status() != "esp.5f3c9a11@198.51.100.1" || b.Status() != "tun:1002@2001:db8::1" {
		t.Errorf("%s %s", a.Status(), b.Status())
	}
	for _, id := range []SAID{a, b, Trap.SAID(), Drop.SAID()} {
		if id.Proto == Int {
			continue
		}
		if got, err := ParseSAID(id.Status()); err != nil || got != id {
			t.Errorf("ParseSAID(%s) = %v, %v", id.Status(), got, err)
		}
	}
}

func TestZeroPolicyDrops(t *testing.T) {
	if (Policy{}).Action != Drop {
		t.Error("a policy that nobody filled in does not drop")
	}
}

func TestSelectorContains(t *testing.T) {
	web := Selector{
		Src: netip.MustParsePrefix("10.1.0.0/24"), Dst: netip.MustParsePrefix("10.2.0.0/24"),
		Proto: 6, DstPorts: Ports{80, 80},
	}
	flow := Flow{Src: netip.MustParseAddr("10.1.0.9"), Dst: netip.MustParseAddr("10.2.0.9"), Proto: 6, SrcPort: 1024, DstPort: 80}
	if !web.Contains(flow) {
		t.Error("does not contain its own flow")
	}
	for name, change := range map[string]func(*Flow){
		"port":     func(f *Flow) { f.DstPort = 81 },
		"proto":    func(f *Flow) { f.Proto = 17 },
		"source":   func(f *Flow) { f.Src = netip.MustParseAddr("10.1.1.9") },
		"fragment": func(f *Flow) { f.Fragment = true },
	} {
		other := flow
		change(&other)
		if web.Contains(other) {
			t.Errorf("contains a flow that differs in %s", name)
		}
	}
	if web.Reverse().Reverse() != web || web.Reverse().SrcPorts != (Ports{80, 80}) {
		t.Error("Reverse")
	}
}

// R2.2: the first address and the last one are in it, the next one is not.
func TestTSOfCoversExactlyThePrefix(t *testing.T) {
	for prefix, want := range map[string]string{
		"192.168.103.70/28": "192.168.103.64-192.168.103.79",
		"0.0.0.0/0":         "0.0.0.0-255.255.255.255",
		"10.0.0.1/32":       "10.0.0.1-10.0.0.1",
		"2001:db8::/33":     "2001:db8::-2001:db8:7fff:ffff:ffff:ffff:ffff:ffff",
	} {
		ts := TSOf(netip.MustParsePrefix(prefix), 0, Ports{})
		if got := ts.Start.String() + "-" + ts.End.String(); got != want {
			t.Errorf("TSOf(%s) = %s, want %s", prefix, got, want)
		}
	}
}

func FuzzParseSAID(f *testing.F) {
	f.Add("tun.1002@1.2.3.4")
	f.Add("esp:5@2001:db8::1")
	f.Add("%hold")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseSAID(text)
		if err != nil || id.Proto == Int || id.Dst.Zone() != "" {
			return
		}
		if again, err := ParseSAID(id.String()); err != nil || again != id {
			t.Fatalf("%q parsed as %v, which parses as %v, %v", text, id, again, err)
		}
	})
}
