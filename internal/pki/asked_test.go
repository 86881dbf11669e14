package pki

import (
	"crypto/sha1"
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/pki/pkitest"
)

// V2C-40: a CERTREQ whose length is no number of hashes is ignored, even where
// it begins with a good one or we do not know all of our own authorities; one
// beside it that is whole counts.
func TestAdv_V2C_40_OddRequest(t *testing.T) {
	l := newLab(t)
	orphan := pkitest.Root(t, pkitest.Spec{Subject: "CN=Other"}).Leaf(t, pkitest.Spec{Subject: "CN=orphan"})
	s := load(t, map[string]string{
		"cacerts/root.pem": pkitest.PEM(l.root), "certs/gw.pem": pkitest.PEM(l.gw, l.sub), "certs/orphan.pem": pkitest.PEM(orphan),
	})
	h := sha1.Sum(l.root.RawSubjectPublicKeyInfo)
	whole := ike.CertRequest{Encoding: ike.CertX509, Authorities: h[:]}
	for _, size := range []int{1, 19, 21, 39, 41, 65535} {
		odd := ike.CertRequest{Encoding: ike.CertX509, Authorities: append(h[:], make([]byte, max(size-len(h), 0))...)[:size]}
		for _, file := range []string{"gw.pem", "orphan.pem"} {
			if got := s.Certificates(file, ike.CertSendIfAsked, []ike.CertRequest{odd}); len(got) != 0 {
				t.Errorf("%d octets: %d certificates of %s are sent", size, len(got), file)
			}
			if got := s.Certificates(file, ike.CertSendIfAsked, []ike.CertRequest{odd, whole}); len(got) == 0 {
				t.Errorf("%d octets spoil the request beside them for %s", size, file)
			}
		}
	}
}
