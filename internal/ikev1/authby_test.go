package ikev1

import (
	"slices"
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/suite"
)

// R5.1: the Oakley authentication methods on the wire are those of authby=: 1 is
// a pre-shared key, 3 an RSA signature (RFC 2409, appendix A). Whoever may do
// either offers each with every suite.
func TestOakleyMethodsOfAuthBy(t *testing.T) {
	for _, x := range []struct {
		auth []ike.AuthMethod
		want []uint32
	}{
		{[]ike.AuthMethod{ike.AuthPSK}, []uint32{1}},
		{[]ike.AuthMethod{ike.AuthPubkey}, []uint32{3}},
		{[]ike.AuthMethod{ike.AuthPSK, ike.AuthPubkey}, []uint32{1, 3}},
		{[]ike.AuthMethod{ike.AuthPubkey, ike.AuthPSK}, []uint32{1, 3}},
		{[]ike.AuthMethod{ike.AuthNever}, nil},
	} {
		c := &ike.Conn{Version: 1, IKE: suite.FreeSWANIKE(), Local: ike.End{Auth: x.auth}, Remote: ike.End{Auth: x.auth}}
		var got []uint32
		for _, o := range offers1(c) {
			if n := methodNumber(o.method); !slices.Contains(got, n) {
				got = append(got, n)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, x.want) {
			t.Errorf("authby %v offers the methods %v, not %v", x.auth, got, x.want)
		}
	}
}
