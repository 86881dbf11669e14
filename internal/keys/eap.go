package keys

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/eap"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

var _ ike.EAPStore = (*Ring)(nil)

// EAPServer implements ike.EAPStore.
func (r *Ring) EAPServer(c *ike.Conn, remote ike.ID, now time.Time, rand io.Reader) (eap.Talk, error) {
	user := &claim{id: remote}
	var methods []eap.ServerMethod
	for _, m := range c.Remote.Auth {
		switch m {
		case ike.AuthEAPMSCHAPv2:
			methods = append(methods, eap.MSCHAPv2Server(ike.UserName(c.Local.ID), rand, r.password))
		case ike.AuthEAPTLS:
			h, err := r.tlsServer(c, user, now)
			if err != nil {
				return nil, err
			}
			methods = append(methods, eap.TLSServer(h))
		}
	}
	if len(methods) == 0 {
		return nil, fmt.Errorf("connection %s has no EAP method for %s", c.Title(), show(remote))
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(rand, first); err != nil {
		return nil, fmt.Errorf("random source: %w", err)
	}
	var told func(string)
	if c.Remote.AskName {
		told = user.called
	}
	return eap.NewServer(first[0], told, methods...), nil
}

// claim is who a peer of EAP-TLS says it is, which its certificate must bear
// out: its identity in IKE, or the one that it gives when asked.
type claim struct {
	id   ike.ID
	name string // as asked
}

func (u *claim) called(name string) { u.id, u.name = ike.UserID(name), name }

// EAPPeer implements ike.EAPStore.
func (r *Ring) EAPPeer(c *ike.Conn, remote ike.ID, now time.Time, rand io.Reader) (eap.Talk, error) {
	name := c.Local.EAPName
	if name == "" {
		name = ike.UserName(c.Local.ID)
	}
	if len(c.Local.Auth) > 0 && c.Local.Auth[0] == ike.AuthEAPTLS {
		h, err := r.tlsPeer(c, remote, now)
		if err != nil {
			return nil, err
		}
		return eap.NewPeer(name, eap.TLSPeer(h)), nil
	}
	_, password, err := r.password(name)
	if err != nil {
		return nil, err
	}
	return eap.NewPeer(name, eap.MSCHAPv2Peer(name, password, rand)), nil
}

// ErrNoPassword is the error of EAP where ipsec.secrets has nothing of a user.
var ErrNoPassword = errors.New("no EAP secret in ipsec.secrets")

// password finds that of a user. A domain before the name, as Windows sends it,
// is not in the file; whoever has a password is known by his name there.
func (r *Ring) password(user string) (known string, password ipsec.Secret, err error) {
	_, plain, _ := strings.Cut(user, `\`)
	for _, name := range []string{user, plain} {
		for _, e := range r.entries() {
			if e.Kind != config.SecretEAP || name == "" {
				continue
			}
			for _, u := range e.Users {
				if u == name {
					return u, e.Password, nil
				}
			}
		}
	}
	return "", ipsec.Secret{}, fmt.Errorf("%w for user %q", ErrNoPassword, user)
}
