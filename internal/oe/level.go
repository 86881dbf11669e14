package oe

import "fmt"

// Level is how well a peer is authenticated, opportunistic.md 6.3. A higher one
// is better.
type Level uint8

// The levels.
const (
	LevelAnon       Level = iota // NULL authentication, RFC 7619
	LevelWeak                    // a key from an answer that nobody validated
	LevelNamed                   // a key from a Secure forward name: the address by reachability only
	LevelCert                    // a certificate that names the address
	LevelSecure                  // a key from a Secure reverse record
	LevelConfigured              // a connection that somebody wrote
)

var levelNames = [...]string{"anon", "weak", "named", "cert", "secure", "configured"}

// String is the word of status lines and of oe-min-auth=.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level %d", uint8(l))
}

// Cause is why an inquiry gave nothing to use, opportunistic.md 4.6.
type Cause uint8

// The causes, from the one that says least to the one that weighs most: of two
// answers to one question, the worse cause counts.
const (
	CauseNone        Cause = iota // there is something to use
	CauseNoRecord                 // proven: no record
	CauseUnlisted                 // proven: the records are about somebody else
	CauseInsecure                 // the zone is not signed, or nobody validated
	CauseUnusableKey              // only keys or gateways that we cannot use
	CauseDNS                      // no answer, SERVFAIL, REFUSED
	CauseMalformed                // a record of ours that breaks its own form: denied like bogus
	CauseBogus                    // the answer is forged or its zone is broken
)

var causeNames = [...]string{"none", "no-record", "unlisted", "insecure", "unusable-key", "dns", "malformed", "bogus"}

// String is the word of log lines.
func (c Cause) String() string {
	if int(c) < len(causeNames) {
		return causeNames[c]
	}
	return fmt.Sprintf("cause %d", uint8(c))
}
