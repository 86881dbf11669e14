package esp

import "unsafe"

// Scratch is the working memory of one goroutine for Seal and Open of any
// number of SAs. The zero value is ready. It exists because whatever is passed
// through cipher.AEAD escapes to the heap: a nonce on the stack would cost an
// allocation per packet. It must not be copied while in use.
type Scratch struct {
	// Borrow lets Seal overwrite the octets behind the payload, within its
	// capacity, and restore them before it returns; then an AEAD reads the
	// payload where it lies instead of from a copy. Set it where nobody else
	// reads or writes these octets at the same time.
	Borrow bool

	nonce [16]byte
	aad   [16]byte
	sum   [64]byte         // a MAC
	saved [maxTrailer]byte // what Borrow restores
	buf   []byte           // contiguous associated data of GMAC with ESN, AH headers
	comp  compressor
}

// grow returns n octets of s.buf.
func (s *Scratch) grow(n int) []byte {
	if cap(s.buf) < n {
		s.buf = make([]byte, n+n/4)
	}
	return s.buf[:n]
}

// overlap reports whether a and b share memory. The addresses are only
// compared, never followed.
func overlap(a, b []byte) bool {
	return len(a) > 0 && len(b) > 0 &&
		uintptr(unsafe.Pointer(&a[0])) <= uintptr(unsafe.Pointer(&b[len(b)-1])) &&
		uintptr(unsafe.Pointer(&b[0])) <= uintptr(unsafe.Pointer(&a[len(a)-1]))
}
