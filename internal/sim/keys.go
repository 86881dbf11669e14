package sim

import (
	"crypto"
	"fmt"
	"io"
	"time"

	"cygnet/internal/eap"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Keys is a node's ike.KeyStore: shared secrets by pair of identities, and a
// private key of its own.
type Keys struct {
	psk       map[[2]ike.ID]string
	passwords map[string]string // of users of EAP
	private   crypto.Signer
	rand      io.Reader // for signatures
}

func newKeys(rand io.Reader) *Keys {
	return &Keys{psk: map[[2]ike.ID]string{}, passwords: map[string]string{}, rand: rand}
}

// SetPSK gives the secret that local and remote share.
func (k *Keys) SetPSK(local, remote ike.ID, secret string) { k.psk[[2]ike.ID{local, remote}] = secret }

// PSK implements ike.KeyStore.
func (k *Keys) PSK(_ *ike.Conn, local, remote ike.ID) (ipsec.Secret, error) {
	s, ok := k.psk[[2]ike.ID{local, remote}]
	if !ok {
		return ipsec.Secret{}, fmt.Errorf("no secret for %s and %s", local, remote)
	}
	return ipsec.NewSecret([]byte(s)), nil
}

// Sign implements ike.KeyStore.
func (k *Keys) Sign(_ *ike.Conn, octets []byte, hashes []uint16) (ike.Signature, error) {
	if k.private == nil {
		return ike.Signature{}, fmt.Errorf("no private key")
	}
	method, data, err := suite.SignDigital(k.rand, k.private, octets, hashes)
	return ike.Signature{Method: method, Data: data}, err
}

// Public implements ike.KeyStore.
func (k *Keys) Public(c *ike.Conn, _ ike.ID) ([]ike.PublicKey, error) { return c.Remote.Keys, nil }

// EAPServer implements ike.EAPStore.
func (k *Keys) EAPServer(c *ike.Conn, _ ike.ID, _ time.Time, rand io.Reader) (eap.Talk, error) {
	return eap.NewServer(1, nil, eap.MSCHAPv2Server(ike.UserName(c.Local.ID), rand, k.password)), nil
}

// EAPPeer implements ike.EAPStore.
func (k *Keys) EAPPeer(c *ike.Conn, _ ike.ID, _ time.Time, rand io.Reader) (eap.Talk, error) {
	name, secret, err := k.password(ike.UserName(c.Local.ID))
	if err != nil {
		return nil, err
	}
	return eap.NewPeer(name, eap.MSCHAPv2Peer(name, secret, rand)), nil
}

func (k *Keys) password(user string) (known string, secret ipsec.Secret, err error) {
	p, ok := k.passwords[user]
	if !ok {
		return "", ipsec.Secret{}, fmt.Errorf("no password of %q", user)
	}
	return user, ipsec.NewSecret([]byte(p)), nil
}
