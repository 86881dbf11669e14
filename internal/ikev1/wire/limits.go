package wire

// Limits on what one message may make us do. All are far above what honest
// peers send, so nobody needs to configure them.
const (
	// maxPayloads bounds one chain. The longest honest messages are those of
	// peers that announce a dozen vendor IDs.
	maxPayloads = 64

	// maxProposals and maxTransforms bound one SA payload; a proposal's
	// count of transforms alone could say 255 of 255 (V1-02). Windows sends
	// about 12 proposals, old Cisco clients some 40 transforms.
	maxProposals  = 64
	maxTransforms = 256

	// maxAttributes bounds the attributes of one transform. RFC 2407 and RFC
	// 2409 define fewer than 20 classes each.
	maxAttributes = 24

	// maxSPIs bounds one Delete payload.
	maxSPIs = 1024

	// Nonces, RFC 2409 section 5: between 8 and 256 octets.
	minNonce = 8
	maxNonce = 256

	// maxID is the longest identity in octets.
	maxID = 1024

	// maxHash is the length of the longest hash there is, SHA2-512.
	maxHash = 64
)
