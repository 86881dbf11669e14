package ike

import "slices"

// Waiting is what a Job implements that may have to wait for others, name
// servers or those who serve CRLs, so that whoever runs jobs can keep it from
// holding up those that only compute.
type Waiting interface {
	// Waits reports whether this job may.
	Waits() bool
}

// Waits implements Waiting.
func (j Verify) Waits() bool {
	return j.Auth.Method != authMethodPSK && j.Auth.Method != authMethodNULL && asks(j.Conn)
}

// Waits implements Waiting.
func (j VerifyV1) Waits() bool { return asks(j.Conn) }

// Waits implements Waiting: in EAP-TLS a certificate is judged, for which lists
// may have to be fetched.
func (j TalkEAP) Waits() bool {
	prover := &j.Conn.Local
	if j.Server {
		prover = &j.Conn.Remote
	}
	return slices.Contains(prover.Auth, AuthEAPTLS)
}

// OfStranger reports whether a job is about a peer that no connection names. It
// may fail where so many wait that the others would be held up.
func OfStranger(j Job) bool {
	var c *Conn
	switch j := j.(type) {
	case Verify:
		c = j.Conn
	case Vouch:
		c = j.Conn
	}
	return c != nil && c.Stranger != nil
}

// asks reports whether the keys of a connection's remote end come from
// elsewhere.
func asks(c *Conn) bool {
	return c.stranger() || c != nil && (c.Remote.DNS && len(c.Remote.Keys) == 0 || c.Remote.Certs.Use())
}
