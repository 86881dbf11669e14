package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestDNSKeys(t *testing.T) {
	f := Parse(MapFS{Files: map[string]string{"ipsec.conf": `version 2.0
config setup
	resolver="127.0.0.1@5353 ::1"
	resolver-trust=yes
	dnssec=validate
	dnssec-rootkey-file=/etc/root.key
	dnssec-anchors="a.key b.key"
	oe-rsa-max=8192
	oe-legacy-txt=no
	oe-legacy-key=yes
`}}, "ipsec.conf")
	d := f.Setup.DNS
	if len(f.Errors) > 0 || len(f.Warnings) > 0 || len(d.Resolvers) != 2 || d.Resolvers[0].String() != "127.0.0.1:5353" || d.Resolvers[1].String() != "[::1]:53" {
		t.Fatalf("%+v, %v, %v", d, f.Errors, f.Warnings)
	}
	d.Resolvers = nil
	if want := (DNS{Trust: true, DNSSEC: DNSSECValidate, RootKey: "/etc/root.key", Anchors: []string{"a.key", "b.key"}, MaxRSA: 8192, KEY: true}); !reflect.DeepEqual(d, want) {
		t.Errorf("%+v", d)
	}
	if d := newSetup(Dialect2).DNS; !reflect.DeepEqual(d, DNS{TXT: true, MaxRSA: 4096}) {
		t.Errorf("defaults: %+v", d)
	}
	for _, word := range []string{"ad", "require", "prefer", "off"} {
		f := Parse(MapFS{Files: map[string]string{"ipsec.conf": "version 2.0\nconfig setup\n\tdnssec=" + word + "\n"}}, "ipsec.conf")
		want := map[string]DNSSEC{"ad": DNSSECAD, "require": DNSSECAD, "prefer": DNSSECPrefer, "off": DNSSECOff}[word]
		if len(f.Errors) > 0 || f.Setup.DNS.DNSSEC != want {
			t.Errorf("%s: %d, %v", word, f.Setup.DNS.DNSSEC, f.Errors)
		}
	}
}

func TestBadDNSKeys(t *testing.T) {
	for _, line := range []string{"resolver=ns.example.com", "resolver=127.0.0.1:53", "resolver=127.0.0.1@0", "resolver=127.0.0.1@99999", "resolver=0.0.0.0", "dnssec=maybe", "oe-rsa-max=1024", "oe-legacy-txt=perhaps"} {
		f := Parse(MapFS{Files: map[string]string{"ipsec.conf": "version 2.0\nconfig setup\n\t" + line + "\n"}}, "ipsec.conf")
		name, _, _ := strings.Cut(line, "=")
		if len(f.Errors) != 1 || f.Errors[0].Line != 3 || !strings.Contains(f.Errors[0].Error(), "ipsec.conf:3: ") || !strings.Contains(f.Errors[0].Error()+f.Errors[0].Mend, name) && !strings.HasPrefix(line, "resolver") {
			t.Errorf("%s: %v", line, f.Errors)
		}
	}
}
