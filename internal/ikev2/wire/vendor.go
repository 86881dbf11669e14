package wire

import "cygnet/internal/ike"

// VendorID is the Vendor ID payload, RFC 7296 section 3.12. Any length is
// legal, none of them is acted on here.
type VendorID struct{ Data []byte }

// Type implements Payload.
func (VendorID) Type() ike.PayloadType { return ike.PayloadVendorID }

func (p VendorID) appendTo(b []byte) []byte { return append(b, p.Data...) }
