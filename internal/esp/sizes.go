package esp

// sizes are the fixed lengths of a suite, in octets.
//
//	| SPI | sequence | IV | payload | padding | pad len | next | ICV |
//	|<------ head ------->|<---- a multiple of align ---->|    |<icv>|
type sizes struct {
	head  int // SPI, sequence number and IV
	icv   int
	align int // what sealing aligns to

	// block is what opening insists on, that of the cipher, 1 for stream
	// ciphers. RFC 4303, 2.4 wants 4 octets from every sender; a packet
	// that violates only this does no harm, so we take it.
	block int
}

// padding returns the Pad Length for a payload of n octets and a wish for
// extra more. It is the least that aligns (RFC 4303 section 2.4), plus as many
// whole units of the wish as the Pad Length octet can express.
func (z sizes) padding(n, extra int) int {
	least := (z.align - (n+2)%z.align) % z.align
	extra = min(max(extra, 0), maxPad-least)
	return least + extra - extra%z.align
}

func (z sizes) sealed(n int) int { return z.head + n + z.padding(n, 0) + 2 + z.icv }

func (z sizes) maxPayload(limit int) int {
	body := limit - z.head - z.icv
	if body < 0 {
		return -1
	}
	return body - body%z.align - 2
}

// trailer is what follows the payload: padding octets, Pad Length, Next Header.
type trailer struct {
	padding int
	next    uint8
}

func (t trailer) len() int { return t.padding + 2 }

// put writes the trailer into b, which has its length. RFC 4303, 2.4: the
// padding is 1, 2, 3, … where the cipher asks for nothing else.
func (t trailer) put(b []byte) {
	for i := range t.padding {
		b[i] = byte(i + 1)
	}
	b[t.padding] = byte(t.padding)
	b[t.padding+1] = t.next
}

// cutTrailer takes the trailer off body, which holds at least 2 octets. RFC
// 4303, 2.4: the receiver SHOULD inspect the padding; we refuse any other,
// because no sender of these suites makes it.
func cutTrailer(body []byte) (payload []byte, next uint8, ok bool) {
	n := len(body) - 2
	padding := int(body[n])
	if padding > n {
		return nil, 0, false
	}
	var diff byte
	for i, b := range body[n-padding : n] {
		diff |= b ^ byte(i+1)
	}
	return body[:n-padding], body[n+1], diff == 0
}
