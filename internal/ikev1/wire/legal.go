package wire

import (
	"cygnet/internal/ike"
)

// rule says how often a payload may stand in a message.
type rule struct {
	payload  ike.PayloadType
	min, max int
}

// Shape is what one kind of message must carry. Vendor IDs, notifications,
// certificates and requests for them may stand in any; what else has no rule
// must not be there.
type Shape struct {
	name  string
	hash  bool // HASH comes first
	rules []rule
}

const many = maxPayloads

// The shapes, RFC 2409 sections 5.1, 5.4, 5.5 and 5.7.
var (
	// HDR, SA -->, and <-- HDR, SA with one transform.
	MainSA = Shape{"Main Mode SA message", false, []rule{{ike.PayloadV1SA, 1, 1}}}

	// HDR, KE, Nonce[, NAT-D, NAT-D ...]
	MainKE = Shape{"Main Mode KE message", false, []rule{
		{ike.PayloadV1KE, 1, 1}, {ike.PayloadV1Nonce, 1, 1}, {ike.PayloadV1NATD, 0, many}, {draftNATD, 0, many},
	}}

	// HDR*, ID, HASH or HDR*, ID, [CERT,] SIG
	MainHash = Shape{"Main Mode authentication", false, []rule{{ike.PayloadV1ID, 1, 1}, {ike.PayloadV1Hash, 1, 1}}}
	MainSig  = Shape{"Main Mode authentication", false, []rule{{ike.PayloadV1ID, 1, 1}, {ike.PayloadV1Signature, 1, 1}}}

	// HDR*, HASH(1), SA, Ni[, KE][, IDci, IDcr][, NAT-OA ...], and the answer
	// alike.
	Quick = Shape{"Quick Mode message", true, []rule{
		{ike.PayloadV1Hash, 1, 1}, {ike.PayloadV1SA, 1, 1}, {ike.PayloadV1Nonce, 1, 1}, {ike.PayloadV1KE, 0, 1},
		{ike.PayloadV1ID, 0, 2}, {ike.PayloadV1NATOA, 0, 2}, {draftNATOA, 0, 2},
	}}

	// HDR*, HASH(3)
	QuickLast = Shape{"Quick Mode's last message", true, []rule{{ike.PayloadV1Hash, 1, 1}}}

	// HDR*, HASH(1), N/D
	Info = Shape{"Informational", true, []rule{{ike.PayloadV1Hash, 1, 1}, {ike.PayloadV1Delete, 0, many}}}

	// HDR, N. Delete in the clear is nobody's word and refused (V1-08).
	InfoClear = Shape{"Informational in the clear", false, []rule{{ike.PayloadV1Hash, 0, 1}}}
)

// anywhere lists what a message of any shape may hold.
var anywhere = map[ike.PayloadType]bool{
	ike.PayloadV1VendorID: true, ike.PayloadV1Notify: true, ike.PayloadV1CERT: true, ike.PayloadV1CERTREQ: true,
}

// Check says whether ps is a message of that shape. drafts says that the NAT-T
// drafts were negotiated, so that their payload numbers mean something. The
// error is a *ike.DropError.
func (s Shape) Check(ps Payloads, drafts bool) error {
	if ps.drafts() && !drafts {
		return dropped("malformed", "%s with payload numbers that were not negotiated", s.name)
	}
	if s.hash && first(ps) != ike.PayloadV1Hash {
		return dropped("malformed", "%s does not begin with HASH", s.name)
	}
	known := 0
	for _, r := range s.rules {
		n := ps.count(r.payload)
		known += n
		if n < r.min {
			return dropped("missing", "%s without %s", s.name, r.payload)
		}
		if n > r.max {
			return dropped("malformed", "%s with %d %s payloads", s.name, n, r.payload)
		}
	}
	for _, p := range ps {
		if anywhere[p.Type()] {
			known++
		}
	}
	if known != len(ps) {
		return dropped("malformed", "%s with payloads that do not belong there", s.name)
	}
	return nil
}
