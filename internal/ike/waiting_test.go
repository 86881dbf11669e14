package ike

import "testing"

// Who may wait for CRLs, OCSP or the DNS says so, or it would hold up a worker.
func TestWaits(t *testing.T) {
	tls := &Conn{Local: End{Auth: []AuthMethod{AuthPubkey}}, Remote: End{Auth: []AuthMethod{AuthEAPTLS}}}
	password := &Conn{Local: End{Auth: []AuthMethod{AuthPubkey}}, Remote: End{Auth: []AuthMethod{AuthEAPMSCHAPv2}}}
	client := &Conn{Local: End{Auth: []AuthMethod{AuthEAPTLS}}, Remote: End{Auth: []AuthMethod{AuthPubkey}}}
	for _, x := range []struct {
		job  Waiting
		want bool
	}{
		{TalkEAP{Conn: tls, Server: true}, true},
		{TalkEAP{Conn: password, Server: true}, false},
		{TalkEAP{Conn: client}, true},
		{TalkEAP{Conn: client, Server: true}, false},
		{Verify{Conn: tls}, false},
		{Verify{Conn: &Conn{Stranger: &Stranger{}}}, true},
		{Verify{Conn: &Conn{Stranger: &Stranger{}}, Auth: Signature{Method: authMethodNULL}}, false},
		{Vouch{}, true},
	} {
		if got := x.job.Waits(); got != x.want {
			t.Errorf("%T waits: %v", x.job, got)
		}
	}
}
