package ikev1

import (
	"crypto/md5"
	"testing"
)

// RFC 3947 section 3.1: the vendor IDs of NAT traversal are MD5 of the names of
// their documents.
func TestVendorIDsAreHashes(t *testing.T) {
	for text, id := range map[string]string{
		"RFC 3947":                        vidNATT,
		"draft-ietf-ipsec-nat-t-ike-03":   vidDraft3,
		"draft-ietf-ipsec-nat-t-ike-02\n": vidDraft2LF,
		"draft-ietf-ipsec-nat-t-ike-02":   vidDraft2,
	} {
		if sum := md5.Sum([]byte(text)); string(sum[:]) != id {
			t.Errorf("%q hashes to %x, and we send %x", text, sum, id)
		}
	}
}
