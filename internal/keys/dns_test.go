package keys

import (
	"errors"
	"strings"
	"testing"

	"crypto/ed25519"

	"cygnet/internal/ike"
)

// table answers for the DNS.
type table map[ike.ID]ed25519.PublicKey

func (t table) KeysOf(id ike.ID) ([]ike.PublicKey, error) {
	if k := t[id]; k != nil {
		return []ike.PublicKey{{Key: k, Origin: "DNS"}}, nil
	}
	return nil, errors.New("no record")
}

// R5.4: where a connection leaves the key to the DNS it is asked for, under the
// identity that the peer gave; where the configuration has one it is not.
func TestR5_4_KeysFromTheDNS(t *testing.T) {
	east, west := id(t, "@east.example.org"), id(t, "@west.example.org")
	key := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	r := New(Options{})
	conn := fixed(t, "@west.example.org", "@east.example.org")
	conn.Remote.DNS = true
	if _, err := r.Public(conn, east); err == nil || !strings.Contains(err.Error(), "the DNS is not asked") {
		t.Errorf("nobody to ask: %v", err)
	}
	r.SetNames(table{east: key})
	if got, err := r.Public(conn, east); err != nil || len(got) != 1 || !key.Equal(got[0].Key) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := r.Public(conn, west); err == nil {
		t.Error("keys of another identity than the connection's")
	}
	other := fixed(t, "@west.example.org", "@west.example.org")
	other.Remote.DNS = true
	if _, err := r.Public(other, west); err == nil || !strings.Contains(err.Error(), "no record") {
		t.Errorf("no record: %v", err)
	}
	conn.Remote.DNS = false
	if _, err := r.Public(conn, east); err == nil {
		t.Error("rightrsasigkey=%none, and yet the DNS is asked")
	}
	conn.Remote.DNS, conn.Remote.Keys = true, []ike.PublicKey{{Key: ed25519.PublicKey(make([]byte, 32)), Origin: "ipsec.conf"}}
	if got, err := r.Public(conn, east); err != nil || got[0].Origin != "ipsec.conf" {
		t.Errorf("a key of the configuration: %v, %v", got, err)
	}
	r.SetNames(nil)
	conn.Remote.Keys = nil
	if _, err := r.Public(conn, east); err == nil {
		t.Error("SetNames(nil), and yet the DNS is asked")
	}
}
