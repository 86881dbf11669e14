package ike

import (
	"fmt"
	"io"

	"cygnet/internal/ipsec"
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

// Signature is the value of an AUTH payload that signs: Method is 1 (RSA),
// 9 to 11 (ECDSA, RFC 4754) or 14 (digital signature, RFC 7427, Data then
// begins with the length of the AlgorithmIdentifier).
type Signature struct {
	Method uint8
	Data   []byte
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
