package cygnet

import (
	"context"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/oe"
)

// oneName is a Resolver of an embedder that knows one record.
type oneName struct {
	name string
	raw  []byte

	mu    sync.Mutex
	asked []string
}

func (o *oneName) Lookup(_ context.Context, name string, rrtype uint16) (Answer, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, oe.Query{Name: name, Type: rrtype}.String())
	a := Answer{Security: oe.Secure, Expires: time.Now().Add(time.Minute)}
	if name == o.name && rrtype == oe.TypeIPSECKEY {
		a.Found, a.Raw = true, [][]byte{o.raw}
	}
	return a, nil
}

func (o *oneName) wasAsked(what string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Contains(strings.Join(o.asked, "\n"), what)
}

// confFile writes an ipsec.conf and reads it.
func confFile(t *testing.T, text string) *config.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ipsec.conf")
	if err := os.WriteFile(name, []byte("version 2.0\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := config.LoadFile(name)
	if err := f.Err(); err != nil {
		t.Fatal(err)
	}
	return f
}

// R5.4: keys by name and address; %dnsonload asks at load, and only for
// connections that are loaded.
func TestR5_4_NameService(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	raw, err := oe.Record{Key: key}.AppendIPSECKEY(nil)
	if err != nil {
		t.Fatal(err)
	}
	dns := &oneName{name: "east.example.org.", raw: raw}
	n := &nameService{o: Options{Resolver: dns}, why: errNoDNS}
	east := ike.ID{Kind: ike.IDFQDN, Data: "east.example.org"}
	if _, err := n.KeysOf(east); err == nil {
		t.Error("before it is configured it answers")
	}
	f := confFile(t, `config setup
	dnssec=prefer
conn load
	left=192.0.2.1
	right=192.0.2.2
	rightid=@east.example.org
	rightrsasigkey=%dnsonload
	auto=add
conn demand
	left=192.0.2.1
	right=192.0.2.3
	rightid=@demand.example.org
	auto=add
conn ignored
	left=192.0.2.1
	right=192.0.2.4
	rightid=@ignored.example.org
	rightrsasigkey=%dnsonload
`)
	if err := n.configure(f); err != nil {
		t.Fatal(err)
	}
	n.prefetch(f)
	n.early.Wait()
	if !dns.wasAsked("east.example.org. IPSECKEY") || dns.wasAsked("demand") || dns.wasAsked("ignored") {
		t.Errorf("%v", dns.asked)
	}
	if keys, err := n.KeysOf(east); err != nil || len(keys) != 1 || !key.Equal(keys[0].Key) || keys[0].Origin != "DNS, IPSECKEY validated" {
		t.Errorf("%v, %v", keys, err)
	}
	if _, err := n.KeysOf(ike.ID{Kind: ike.IDFQDN, Data: "other.example.org"}); err == nil || !strings.Contains(err.Error(), "no record (no-record)") {
		t.Errorf("%v", err)
	}
	if _, err := n.KeysOf(ike.ID{Kind: ike.IDKeyID, Data: "x"}); err == nil || !strings.Contains(err.Error(), "addresses and host names") {
		t.Errorf("%v", err)
	}
	if !n.record.AcceptInsecure {
		t.Error("dnssec=prefer accepts nothing insecure")
	}
	n.close()
	if _, err := n.KeysOf(east); err == nil {
		t.Error("closed, and yet it answers")
	}
}

// What config setup cannot have is said when it is read.
func TestNameServiceWithoutAnchor(t *testing.T) {
	n := &nameService{why: errNoDNS}
	f := confFile(t, "config setup\n\tdnssec=validate\n\tdnssec-rootkey-file=/nowhere/root.key\n")
	if err := n.configure(f); err == nil || !strings.Contains(err.Error(), "/nowhere/root.key") {
		t.Errorf("%v", err)
	}
	if _, err := n.Lookup(context.Background(), "x.", 45); err == nil {
		t.Error("it answers all the same")
	}
	if err := n.configure(confFile(t, "config setup\n\tresolver=127.0.0.1@1\n")); err != nil {
		t.Error(err)
	}
	kept := n.open
	if err := n.configure(confFile(t, "config setup\n\tresolver=127.0.0.1@1\n\toe=no\n")); err != nil || n.open != kept {
		t.Errorf("nothing about the DNS has changed, and yet there is another resolver: %v", err)
	}
	if s := n.Servers(); len(s) != 1 || s[0].String() != "127.0.0.1" {
		t.Errorf("%v", s)
	}
	if err := n.configure(confFile(t, "config setup\n\tresolver=127.0.0.1@1\n\tresolver-trust=yes\n")); err != nil || n.open == kept {
		t.Errorf("the old resolver stays: %v", err)
	}
	n.close()
}
