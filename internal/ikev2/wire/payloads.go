package wire

import "cygnet/internal/ike"

// Payloads is a sequence of payloads with access by type. Where RFC 7296
// allows several of one type the accessor returns all, else the only one, and
// false when there is none. Their order carries no meaning (section 2.5).
type Payloads []Payload

// only returns the payload of type P. Legal has made sure there is one at most.
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

// IDi returns the initiator's identification.
func (ps Payloads) IDi() (IDi, bool) { return only[IDi](ps) }

// IDr returns the responder's identification.
func (ps Payloads) IDr() (IDr, bool) { return only[IDr](ps) }

// AUTH returns the Authentication payload.
func (ps Payloads) AUTH() (AUTH, bool) { return only[AUTH](ps) }

// Nonce returns the Nonce payload.
func (ps Payloads) Nonce() (Nonce, bool) { return only[Nonce](ps) }

// TSi returns the initiator's traffic selectors.
func (ps Payloads) TSi() (TSi, bool) { return only[TSi](ps) }

// TSr returns the responder's traffic selectors.
func (ps Payloads) TSr() (TSr, bool) { return only[TSr](ps) }

// CP returns the Configuration payload.
func (ps Payloads) CP() (CP, bool) { return only[CP](ps) }

// EAP returns the EAP payload.
func (ps Payloads) EAP() (EAP, bool) { return only[EAP](ps) }

// CERTs returns the Certificate payloads, the end entity's first.
func (ps Payloads) CERTs() []CERT { return all[CERT](ps) }

// CERTREQs returns the Certificate Request payloads.
func (ps Payloads) CERTREQs() []CERTREQ { return all[CERTREQ](ps) }

// Deletes returns the Delete payloads.
func (ps Payloads) Deletes() []Delete { return all[Delete](ps) }

// VendorIDs returns the Vendor ID payloads.
func (ps Payloads) VendorIDs() []VendorID { return all[VendorID](ps) }

// Notifies returns the Notify payloads.
func (ps Payloads) Notifies() []Notify { return all[Notify](ps) }

// Notify returns the first Notify of type t.
func (ps Payloads) Notify(t uint16) (Notify, bool) {
	for _, p := range ps {
		if n, ok := p.(Notify); ok && n.Kind == t {
			return n, true
		}
	}
	return Notify{}, false
}

// NotifyAll returns every Notify of type t, up to a limit beyond which copies
// mean nothing.
func (ps Payloads) NotifyAll(t uint16) []Notify {
	var found []Notify
	for _, p := range ps {
		if n, ok := p.(Notify); ok && n.Kind == t && len(found) < maxNotifyCopies {
			found = append(found, n)
		}
	}
	return found
}

// Failure returns the first Notify of an error type, known or not: in a
// response the request has then failed, at least in part (section 3.10.1).
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
