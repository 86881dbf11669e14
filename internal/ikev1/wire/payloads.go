package wire

import "cygnet/internal/ike"

// Payloads is a sequence of payloads with access by type. Their order means
// something for HASH, which comes first where a message has one, and for the
// two IDs of Quick Mode.
type Payloads []Payload

func only[P Payload](ps Payloads) (P, bool) {
	for _, p := range ps {
		if q, ok := p.(P); ok {
			return q, true
		}
	}
	var none P
	return none, false
}

func all[P Payload](ps Payloads) []P {
	var found []P
	for _, p := range ps {
		if q, ok := p.(P); ok {
			found = append(found, q)
		}
	}
	return found
}

// SA returns the Security Association payload.
func (ps Payloads) SA() (SA, bool) { return only[SA](ps) }

// KE returns the Key Exchange payload.
func (ps Payloads) KE() (KE, bool) { return only[KE](ps) }

// HASH returns the Hash payload.
func (ps Payloads) HASH() (HASH, bool) { return only[HASH](ps) }

// SIG returns the Signature payload.
func (ps Payloads) SIG() (SIG, bool) { return only[SIG](ps) }

// Nonce returns the Nonce payload.
func (ps Payloads) Nonce() (Nonce, bool) { return only[Nonce](ps) }

// IDs returns the Identification payloads, the initiator's first.
func (ps Payloads) IDs() []ID { return all[ID](ps) }

// CERTs returns the certificates, in order.
func (ps Payloads) CERTs() []CERT { return all[CERT](ps) }

// CERTREQs returns the requests for certificates, in order.
func (ps Payloads) CERTREQs() []CERTREQ { return all[CERTREQ](ps) }

// VendorIDs returns the Vendor ID payloads.
func (ps Payloads) VendorIDs() []VendorID { return all[VendorID](ps) }

// NATDs returns the NAT-D payloads: first the one of the receiver's address,
// then those of the sender's (RFC 3947, 3.2).
func (ps Payloads) NATDs() []NATD { return all[NATD](ps) }

// NATOAs returns the NAT-OA payloads, the initiator's first.
func (ps Payloads) NATOAs() []NATOA { return all[NATOA](ps) }

// Notifies returns the Notification payloads.
func (ps Payloads) Notifies() []Notify { return all[Notify](ps) }

// Notify returns the first Notification of type t.
func (ps Payloads) Notify(t uint16) (Notify, bool) {
	for _, p := range ps {
		if n, ok := p.(Notify); ok && n.Kind == t {
			return n, true
		}
	}
	return Notify{}, false
}

// Failure returns the first Notification of an error type, known or not.
func (ps Payloads) Failure() (Notify, bool) {
	for _, p := range ps {
		if n, ok := p.(Notify); ok && n.Error() {
			return n, true
		}
	}
	return Notify{}, false
}

// count counts the payloads of type t.
func (ps Payloads) count(t ike.PayloadType) int {
	n := 0
	for _, p := range ps {
		if p.Type() == t {
			n++
		}
	}
	return n
}

// drafts reports whether a payload with a number of the NAT-T drafts is among
// ps.
func (ps Payloads) drafts() bool {
	return ps.count(draftNATD) > 0 || ps.count(draftNATOA) > 0
}
