package ike

import (
	"errors"
	"io"
	"strings"
	"time"

	"cygnet/internal/eap"
)

// EAP reports whether a method is one of EAP, which an end proves itself by in
// several messages (RFC 7296 section 2.16).
func (m AuthMethod) EAP() bool { return m == AuthEAPTLS || m == AuthEAPMSCHAPv2 }

// EAPStore is what a KeyStore is as well if it has what EAP needs: passwords,
// or the handshakes of TLS.
type EAPStore interface {
	// EAPServer begins to ask the remote end of c, which calls itself remote in
	// IKE, by one of the methods that c allows it.
	EAPServer(c *Conn, remote ID, now time.Time, rand io.Reader) (eap.Talk, error)
	// EAPPeer begins to answer as the local end of c, to a server that is
	// remote.
	EAPPeer(c *Conn, remote ID, now time.Time, rand io.Reader) (eap.Talk, error)
}

// TalkEAP takes an EAP conversation one packet further; its result is an
// EAPSaid. Unlike other jobs it may run only once: TLS does not step back.
type TalkEAP struct {
	Conn   *Conn
	Remote ID
	Server bool      // we ask
	Talk   eap.Talk  // nil: it begins
	Packet []byte    // the other end's; none for a server that begins
	Now    time.Time // the wall clock, for the validity of certificates
}

// EAPSaid is the result of TalkEAP.
type EAPSaid struct {
	eap.Reply
	Talk eap.Talk // to go on with
}

// Run implements Job.
func (j TalkEAP) Run(env Env) (any, error) {
	talk := j.Talk
	if talk == nil {
		var err error
		if talk, err = j.begin(env); err != nil {
			return nil, err
		}
	}
	r, err := talk.Next(j.Packet)
	return EAPSaid{Reply: r, Talk: talk}, err
}

func (j TalkEAP) begin(env Env) (eap.Talk, error) {
	store, ok := env.Keys.(EAPStore)
	switch {
	case !ok:
		return nil, errors.New("this key store knows nothing of EAP")
	case j.Server:
		return store.EAPServer(j.Conn, j.Remote, j.Now, env.Rand)
	}
	return store.EAPPeer(j.Conn, j.Remote, j.Now, env.Rand)
}

// String implements Job.
func (j TalkEAP) String() string { return "EAP with " + j.Remote.String() }

// UserID is the identity that a name of EAP stands for: a mail address where it
// has the form of one, else a name.
func UserID(name string) ID {
	if strings.Contains(name, "@") {
		return ID{Kind: IDUser, Data: name}
	}
	return ID{Kind: IDFQDN, Data: name}
}

// UserName is the name in EAP of whoever has that identity in IKE.
func UserName(id ID) string {
	if a, ok := id.Addr(); ok {
		return a.String()
	}
	if id.Kind == IDDN {
		return id.String()
	}
	return id.Data
}
