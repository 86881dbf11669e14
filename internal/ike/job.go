package ike

import (
	"crypto"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
	"cygnet/internal/suite"
)

// Job is work that leaves the machine because it is expensive or needs private
// keys. A job is a value; running it twice gives the same kind of result.
type Job interface {
	// Run does the work. It may be called from any goroutine.
	Run(env Env) (any, error)
	// String names the job without its secrets.
	String() string
}

// Env is what jobs may use of the world.
type Env struct {
	Rand io.Reader
	Keys KeyStore
	Ask  func(*oe.Inquiry) oe.Finding // asks the DNS, for jobs that are Waiting; nil: there is none
}

// KeyStore holds this machine's authentication secrets and finds peers' keys.
// Safe for concurrent use.
type KeyStore interface {
	// PSK returns the shared secret of two identities, or an error that
	// says which entry was looked for.
	PSK(c *Conn, local, remote ID) (ipsec.Secret, error)
	// Sign signs octets with the private key of c's local end. hashes are the
	// RFC 7427 hash numbers (RFC 8247: 2 SHA2-256, 3 SHA2-384, 4 SHA2-512, 5
	// identity) that the peer announced; none means the methods of RFC 7296
	// and RFC 4754 only.
	Sign(c *Conn, octets []byte, hashes []uint16) (Signature, error)
	// Public lists the keys bound to the remote end's identity, from the
	// configuration and other stores.
	Public(c *Conn, remote ID) ([]PublicKey, error)
}

// Prove makes the data of our AUTH payload, RFC 7296 section 2.15; its result
// is a Signature. The shared key or private key is found and used inside the
// job, so a machine never holds one.
type Prove struct {
	Conn          *Conn
	Method        AuthMethod
	PRF           *suite.PRF // of the IKE SA, for AuthPSK
	Octets        []byte     // what is signed: message | nonce | prf(SK_p, ID')
	Local, Remote ID
	Hashes        []uint16 // the peer's SIGNATURE_HASH_ALGORITHMS

	Asked []CertRequest // the peer's CERTREQ payloads

	// Shared is the secret of a method that has none of its own: of AuthNULL
	// SK_pi or SK_pr, whichever is the signer's, and of EAP its MSK.
	Shared ipsec.Secret
}

// Run implements Job.
func (j Prove) Run(env Env) (any, error) {
	switch j.Method {
	case AuthEAPTLS, AuthEAPMSCHAPv2: // RFC 7296, 2.16
		mac, err := sharedMAC(j.PRF, j.Shared, j.Octets)
		return Signature{Method: authMethodPSK, Data: mac}, err
	case AuthPSK:
		mac, err := j.pskMAC(env.Keys)
		return Signature{Method: authMethodPSK, Data: mac}, err
	case AuthPubkey:
		sig, err := env.Keys.Sign(j.Conn, j.Octets, j.Hashes)
		if certs, ok := env.Keys.(CertStore); ok && err == nil {
			sig.Certs = certs.Certificates(j.Conn, j.Asked)
		}
		return sig, err
	case AuthNULL:
		mac, err := sharedMAC(j.PRF, j.Shared, j.Octets)
		return Signature{Method: authMethodNULL, Data: mac}, err
	}
	return nil, fmt.Errorf("no way to prove %s by method %d", j.Local, j.Method)
}

// pskMAC is prf(prf(shared secret, key pad), octets).
func (j Prove) pskMAC(keys KeyStore) ([]byte, error) {
	psk, err := keys.PSK(j.Conn, j.Local, j.Remote)
	if err != nil {
		return nil, fmt.Errorf("no pre-shared key: %w", err)
	}
	if psk.Len() == 0 {
		return nil, fmt.Errorf("the pre-shared key for %s and %s is empty", j.Local, j.Remote)
	}
	return sharedMAC(j.PRF, psk, j.Octets)
}

// sharedMAC is the AUTH value of a shared secret, RFC 7296 section 2.15.
func sharedMAC(prf *suite.PRF, secret ipsec.Secret, octets []byte) ([]byte, error) {
	if secret.Len() == 0 {
		return nil, errors.New("there is no secret to make AUTH from")
	}
	return prf.Sum(prf.Sum(secret.Bytes(), []byte(keyPad)), octets), nil
}

// keyPad is RFC 7296 section 2.15's "Key Pad for IKEv2", 17 octets.
const keyPad = "Key Pad for IKEv2"

// AUTH method numbers, RFC 7296 section 3.8 and RFC 7619 section 2.1.
const (
	authMethodPSK  = 2
	authMethodNULL = 13
)

// String implements Job.
func (j Prove) String() string { return "prove " + j.Local.String() }

// Verify checks the peer's AUTH payload; its result is a Verified. A wrong or
// missing key is the job's error.
type Verify struct {
	Conn          *Conn
	PRF           *suite.PRF
	Octets        []byte // what the peer signed
	Local, Remote ID
	Auth          Signature
	Now           time.Time    // the wall clock, for the validity of certificates
	From          netip.Addr   // where the peer calls from
	Shared        ipsec.Secret // as in Prove
}

// Verified says that an identity was proven. Only Verify makes valid ones.
type Verified struct {
	peer  ID
	ok    bool
	How   string           // "PSK", or the kind and origin of the key
	Key   crypto.PublicKey // that the identity signed with, if it is one of the connection's
	Level oe.Level         // of a stranger who was looked up

	// Of a proof by certificate: who issued it, when it runs out, and what is
	// worth a line in the log about it.
	CA       ID
	Until    time.Time
	Chain    [][]byte // of certificates in DER, the peer's first
	Warnings []string
}

// Proves reports whether v is the proof of that identity.
func (v Verified) Proves(peer ID) bool { return v.ok && v.peer == peer }

// Run implements Job.
func (j Verify) Run(env Env) (any, error) {
	switch j.Auth.Method {
	case authMethodPSK:
		if j.Shared.Len() > 0 {
			return j.eap()
		}
		return j.psk(env.Keys)
	case authMethodNULL:
		return j.null()
	}
	if j.Conn.stranger() {
		return j.introduced(env)
	}
	return j.signature(env.Keys)
}

// eap checks that the end which has just proven itself by EAP is the one that
// speaks here: it has the MSK (RFC 7296 section 2.16).
func (j Verify) eap() (any, error) {
	want, err := sharedMAC(j.PRF, j.Shared, j.Octets)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(want, j.Auth.Data) {
		return nil, errors.New("AUTH was not made with the key that EAP has given")
	}
	return Verified{peer: j.Remote, ok: true, How: "EAP"}, nil
}

// null checks that the peer of this key exchange is the one that speaks now,
// which is all that RFC 7619 promises. Nobody is known by it: only ID_NULL can
// be shown so, whatever the peer calls itself (section 2.2).
func (j Verify) null() (any, error) {
	if j.Conn == nil || !slices.Contains(j.Conn.Remote.Auth, AuthNULL) || j.Remote.Kind != IDNULL {
		return nil, fmt.Errorf("%s must prove who it is", j.Remote)
	}
	want, err := sharedMAC(j.PRF, j.Shared, j.Octets)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(want, j.Auth.Data) {
		return nil, errors.New("the peer is not the one that the keys were agreed with")
	}
	return Verified{peer: j.Remote, ok: true, How: "nothing (NULL authentication)"}, nil
}

func (j Verify) psk(keys KeyStore) (any, error) {
	want, err := Prove{Conn: j.Conn, PRF: j.PRF, Octets: j.Octets, Local: j.Local, Remote: j.Remote}.pskMAC(keys)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(want, j.Auth.Data) {
		return nil, fmt.Errorf("the pre-shared keys for %s and %s differ", j.Local, j.Remote)
	}
	return Verified{peer: j.Remote, ok: true, How: "PSK"}, nil
}

func (j Verify) signature(keys KeyStore) (any, error) {
	check := func(key crypto.PublicKey) error {
		return suite.VerifySignature(key, j.Auth.Method, j.Octets, j.Auth.Data)
	}
	return signed{j.Conn, j.Remote, j.Auth.Certs, j.Now}.by(keys, check)
}

// signed is a signature whose maker is to be found.
type signed struct {
	conn   *Conn
	remote ID
	certs  []Cert
	now    time.Time
}

// by looks for the maker among the keys that the configuration names, then in
// the peer's certificates where the connection accepts any.
func (s signed) by(keys KeyStore, check func(crypto.PublicKey) error) (Verified, error) {
	v, err := s.byKey(keys, check)
	if err == nil {
		return v, nil
	}
	return s.byCert(keys, check, err)
}

// byCert goes on where no key fitted, which was keyErr.
func (s signed) byCert(keys KeyStore, check func(crypto.PublicKey) error, keyErr error) (Verified, error) {
	store, ok := keys.(CertStore)
	if !ok || s.conn == nil || !s.conn.Remote.Certs.Use() {
		return Verified{}, keyErr
	}
	c, err := store.Certified(s.conn, s.remote, s.certs, s.now, check)
	switch {
	case err == nil:
		return Verified{peer: s.remote, ok: true, How: c.Origin, CA: c.Issuer, Until: c.Until, Chain: c.Chain, Warnings: c.Warnings}, nil
	case len(s.conn.Remote.Keys) > 0:
		err = fmt.Errorf("%w; %w", keyErr, err)
	}
	return Verified{}, err
}

func (s signed) byKey(keys KeyStore, check func(crypto.PublicKey) error) (Verified, error) {
	public, err := keys.Public(s.conn, s.remote)
	if err != nil {
		return Verified{}, fmt.Errorf("no public key known for %s: %w", s.remote, err)
	}
	var last error
	for _, k := range public {
		if last = check(k.Key); last == nil {
			return Verified{peer: s.remote, ok: true, How: k.Origin, Key: k.Key}, nil
		}
	}
	if last == nil {
		return Verified{}, fmt.Errorf("no public key known for %s", s.remote)
	}
	return Verified{}, fmt.Errorf("signature check on %s (wrong key?), %d tried: %w", s.remote, len(public), last)
}

// String implements Job.
func (j Verify) String() string { return "verify " + j.Remote.String() }

// Signature is the value of an AUTH payload that signs: Method is 1 (RSA),
// 9 to 11 (ECDSA, RFC 4754) or 14 (digital signature, RFC 7427, Data then
// begins with the length of the AlgorithmIdentifier). Certs are the CERT
// payloads beside it: those to send in what Prove returns, those received in
// what Verify is given.
type Signature struct {
	Method uint8
	Data   []byte
	Certs  []Cert
}

// MakeKey makes the initiator's half of a key exchange; its result is a
// suite.Private.
type MakeKey struct{ KE *suite.KE }

// Run implements Job.
func (j MakeKey) Run(env Env) (any, error) { return j.KE.New(env.Rand) }

// String implements Job.
func (j MakeKey) String() string { return "make key " + j.KE.Name }

// FinishKey computes the shared secret from our half and the peer's public
// value; its result is an ipsec.Secret.
type FinishKey struct {
	Private suite.Private
	Peer    []byte
}

// Run implements Job.
func (j FinishKey) Run(Env) (any, error) {
	s, err := j.Private.Shared(j.Peer)
	return ipsec.NewSecret(s), err
}

// String implements Job.
func (FinishKey) String() string { return "finish key" }

// AnswerKey is the responder's whole key exchange; its result is an Answered.
type AnswerKey struct {
	KE   *suite.KE
	Peer []byte
}

// Answered is the result of AnswerKey.
type Answered struct {
	Public []byte
	Shared ipsec.Secret
}

// Run implements Job.
func (j AnswerKey) Run(env Env) (any, error) {
	pub, shared, err := j.KE.Respond(env.Rand, j.Peer)
	return Answered{pub, ipsec.NewSecret(shared)}, err
}

// String implements Job.
func (j AnswerKey) String() string { return fmt.Sprintf("answer key %s", j.KE.Name) }
