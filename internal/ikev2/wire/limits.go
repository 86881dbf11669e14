package wire

// Limits on what one message may make us do. All are far above what honest
// peers send, so nobody needs to configure them.
const (
	// maxPayloads bounds one chain, so that memory and time follow a number
	// of ours (CVE-2026-12413). strongSwan's largest messages have about 25.
	maxPayloads = 128

	// maxProposals bounds one SA payload. The number field allows 255;
	// Windows sends the longest lists known, about 20.
	maxProposals = 64

	// maxTransforms bounds all proposals of one SA payload together. A
	// generous list of everything we know is about 60.
	maxTransforms = 1024

	// maxCerts is the longest certificate chain with its CRLs.
	maxCerts = 16

	// maxCertReqs bounds CERTREQ payloads; one carries all CAs, some peers
	// send one for each.
	maxCertReqs = 64

	// maxAttributes bounds the attributes of a CP payload.
	maxAttributes = 64

	// maxNotifyCopies bounds how often one notify type is looked at; a host
	// has fewer addresses than that for NAT_DETECTION_SOURCE_IP.
	maxNotifyCopies = 16

	// maxID is the longest identity in octets. DNs with many components
	// stay below 500.
	maxID = 1024
)
