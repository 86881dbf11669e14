package pki

import (
	"errors"
	"fmt"
	"strings"

	"cygnet/internal/ike"
)

// Step is what was being checked when a certificate was refused.
type Step uint8

// The steps, in the order in which they are taken.
const (
	StepNone       Step = iota + 1 // the peer sent no certificate that could be used
	StepHashURL                    // it sent a hash and URL instead
	StepBounds                     // too many, too long
	StepParse                      // not a certificate
	StepKey                        // a key that is too short, too long or of no use
	StepAlgorithm                  // a signature by MD5, SHA-1 or something unknown
	StepUsage                      // key usage, extended key usage, CA and end entity confused
	StepTime                       // not yet or no longer valid
	StepExtension                  // a critical extension that is not understood
	StepConstraint                 // a CA that may not issue for these names
	StepChain                      // no chain to a CA of ours
	StepCA                         // a chain to one, but not to the one that the connection names
	StepIdentity                   // the certificate is somebody else's
	StepRevoked                    // revoked
	StepUnknown                    // not known whether it is revoked, where that must be known
)

var stepNames = [...]string{"", "none", "hash-and-url", "bounds", "parse", "key", "algorithm", "usage", "time", "extension", "constraint", "chain", "ca", "identity", "revoked", "revocation-unknown"}

// String is a symbolic name.
func (s Step) String() string {
	if int(s) < len(stepNames) {
		return stepNames[s]
	}
	return fmt.Sprintf("step%d", uint8(s))
}

// Error says why certificates were refused. Its text is one line of printable
// ASCII, whatever the peer put into them.
type Error struct {
	Step Step
	Cert string // whose certificate, as far as that is known
	Why  string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Cert == "" {
		return e.Why
	}
	return fmt.Sprintf("certificate of '%s': %s", e.Cert, e.Why)
}

// StepOf is the step at which err refused; 0 if it is no Error.
func StepOf(err error) Step {
	var e *Error
	if errors.As(err, &e) {
		return e.Step
	}
	return 0
}

func refuse(step Step, format string, args ...any) *Error {
	return &Error{Step: step, Why: printable(fmt.Sprintf(format, args...))}
}

// of is e about a certificate.
func (e *Error) of(subject string) *Error {
	if e == nil {
		return nil
	}
	c := *e
	c.Cert = subject
	return &c
}

// nameOf is the text of a name in DER, cut where it is long.
func nameOf(der []byte) string {
	return printable(ike.ID{Kind: ike.IDDN, Data: string(der)}.String())
}

// printable escapes everything but printable ASCII and cuts what is too long.
func printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if b.Len() >= maxText {
			b.WriteString("...")
			break
		}
		if c := s[i]; c < ' ' || c >= 0x7f {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
