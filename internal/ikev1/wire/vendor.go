package wire

import "cygnet/internal/ike"

// VendorID is the Vendor ID payload, RFC 2408 section 3.16: an octet string
// that says what its sender can do.
type VendorID struct{ Data []byte }

// Type implements Payload.
func (VendorID) Type() ike.PayloadType { return ike.PayloadV1VendorID }

func (p VendorID) appendTo(b []byte) []byte { return append(b, p.Data...) }
