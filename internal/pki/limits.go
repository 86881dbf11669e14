package pki

import "time"

// Limits on what a peer sends. Nothing here is remembered between calls, so
// they also bound memory.
const (
	// A chain of four is what RFC 7296 section 3.6 expects; the rest is for
	// peers that send everything they have.
	maxPayloads = 16
	// Certificates are 1 to 2 KiB, with post-quantum keys up to 10.
	maxCertificate = 32 << 10
	// All CERT payloads of one peer.
	maxReceived = 128 << 10
	// Subject alternative names in one certificate.
	maxNames = 256
	// Certificates in a chain, root included.
	maxPath = 8
	// OCSP responses of RFC 4806 that are looked at.
	maxStaples  = 4
	maxResponse = 16 << 10
	// Authorities of CERTREQ payloads that are looked at.
	maxAsked = 1000
	// Longest text of a peer's in an error, in octets.
	maxText = 200
)

// RSA keys. Below the first RFC 8247 section 4.1 sees no security; above the
// second checking a signature is work that a peer could make us do.
const (
	minRSA = 2048
	maxRSA = 8192
)

// Limits on files, which only the administrator can write.
const (
	maxFiles     = 1000
	maxFile      = 256 << 10 // of certificates
	maxKeyFile   = 64 << 10
	maxCRL       = 16 << 20
	maxPerIssuer = 8 // CRLs of one issuer, newest first
)

// maxAuthorities is how many hashes our CERTREQ has at most: 640 octets, which
// leave room in an IKE_SA_INIT response. With more CAs we ask for any.
const maxAuthorities = 32

// What a chain may ask to be fetched.
const (
	maxURIs = 2 // of each kind in one certificate
	maxURI  = 512
)

// skew is by how much the clocks of a CA and ours may differ when it says that
// a list is from now on.
const skew = 5 * time.Minute

// responseLife is how long an OCSP response without nextUpdate counts (RFC
// 6960 section 4.2.2.1: newer information is always available).
const responseLife = time.Hour
