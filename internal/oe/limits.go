package oe

// Limits of what is read from strangers' records, opportunistic.md 7.7.
const (
	maxRecords = 16   // of one answer are looked at, the rest is counted
	maxKeys    = 8    // are tried for one signature: what a peer can make us verify
	maxRDATA   = 2100 // octets: an RSA key of 8192 bits with a long name fits in half
	maxTXT     = 4096 // octets of text after joining
	maxQueries = 6    // of one inquiry, so that a record cannot send us around

	minRSABits    = 2048
	defaultMaxRSA = 4096 // what a stranger may make us compute with (oe-rsa-max=)
)
