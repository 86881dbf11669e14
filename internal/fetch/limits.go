package fetch

import "time"

// Limits. A certificate says where to fetch, so each is a limit on what its
// maker can have us do (adversary.md X509-13).
const (
	// A negotiation has half a minute or more; two certificates of a chain with
	// two places each must fit into a part of it.
	defaultWait = 2 * time.Second
	maxTime     = 10 * time.Second // of one fetch

	maxPublished  = 1 << 20  // octets of a CRL that a certificate names
	maxConfigured = 16 << 20 // of one that a ca section names
	maxResponse   = 16 << 10 // of an OCSP response
	maxRedirects  = 3

	maxUnderWay = 8
	maxAnswers  = 256 // remembered

	keepAnswer  = time.Minute
	keepFailure = 30 * time.Second
)
