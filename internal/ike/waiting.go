package ike

// Waiting is what a Job implements that may have to wait for others, name
// servers or those who serve CRLs, so that whoever runs jobs can keep it from
// holding up those that only compute.
type Waiting interface {
	// Waits reports whether this job may.
	Waits() bool
}

// Waits implements Waiting.
func (j Verify) Waits() bool { return j.Auth.Method != authMethodPSK && asks(j.Conn) }

// Waits implements Waiting.
func (j VerifyV1) Waits() bool { return asks(j.Conn) }

// asks reports whether the keys of a connection's remote end come from
// elsewhere.
func asks(c *Conn) bool {
	return c.stranger() || c != nil && (c.Remote.DNS && len(c.Remote.Keys) == 0 || c.Remote.Certs.Use())
}
