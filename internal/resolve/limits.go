package resolve

import "time"

// Limits, opportunistic.md 4.7, 8.4 and 8.5.
const (
	inFlight   = 64             // queries at once: beyond that resolvers lose answers
	maxEntries = 100_000        // of the cache
	maxTTL     = 24 * time.Hour // a positive answer is asked again daily
	minNegTTL  = 10 * time.Second
	maxNegTTL  = time.Hour
	bogusTTL   = time.Minute     // until a broken zone is looked at again
	errorTTL   = 5 * time.Second // until a silent server is asked again

	repeatAfter  = 700 * time.Millisecond // of silence a query is sent again; after twice that the next server is asked too
	maxRepeats   = 4
	lookupLimit  = 5 * time.Second  // for whoever sets no deadline
	maxChain     = 8                // CNAME and DNAME links
	probeEvery   = 5 * time.Minute  // whether the resolver validates
	probeSooner  = 15 * time.Second // after it did not, or did not answer
	maxQueries   = 64               // of one validated lookup
	maxZoneCache = 10_000           // zones whose keys are remembered
	maxDatagram  = 4096             // octets; we announce 1232
)
