package check

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
)

// expirySoon is how long before its end a certificate is worth a word: long
// enough to get another one.
const expirySoon = 30 * 24 * time.Hour

// certificates looks at the files that leftcert= and rightcert= name.
func certificates(g *Gateway, out *found) {
	params := g.parameters()
	for _, w := range params {
		side, ok := strings.CutSuffix(w.name, "cert")
		if !ok || side != "left" && side != "right" || strings.HasPrefix(w.value, "%") {
			continue
		}
		other := "right"
		if side == "right" {
			other = "left"
		}
		conn, _ := strings.CutPrefix(w.section, "conn ")
		cert, err := g.certificate(w.value)
		if err != nil {
			out.at(w.at, conn, fmt.Sprintf("certificate %s: %v", w.value, err), "put it into "+g.beside("certs"))
			continue
		}
		say := func(what, mend string) { out.at(w.at, conn, fmt.Sprintf("certificate %s %s", w.value, what), mend) }
		g.validity(cert, say)
		if name := inSection(params, w, side+"id"); name != "" && !names(cert, name) {
			say(fmt.Sprintf("does not name %s", name), "a certificate with that subjectAltName, or another "+side+"id")
		}
		switch peer := inSection(params, w, other); peer {
		case "%any", "%any6", "0.0.0.0", "::":
			if !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny) {
				say("is not for serverAuth, which the clients of Windows and iOS ask for", "a certificate with the extended key usage serverAuth")
			}
			if len(cert.DNSNames)+len(cert.IPAddresses) == 0 {
				say("has no subjectAltName, which clients compare with the name they call", "a certificate with the gateway's DNS name or address")
			}
		}
	}
}

func (g *Gateway) certificate(name string) (*x509.Certificate, error) {
	b, _, err := g.fsys.FS.Read(under(g.beside("certs"), name), maxRead)
	if err != nil {
		return nil, fmt.Errorf("cannot be read")
	}
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	}
	return x509.ParseCertificate(b)
}

func (g *Gateway) validity(cert *x509.Certificate, say func(what, mend string)) {
	const day = "2006-01-02"
	switch {
	case g.Now.IsZero():
	case g.Now.After(cert.NotAfter):
		say("expired on "+cert.NotAfter.Format(day), "a new one")
	case g.Now.Before(cert.NotBefore):
		say("is not valid before "+cert.NotBefore.Format(day), "set the clock right, or wait")
	case g.Now.Add(expirySoon).After(cert.NotAfter):
		say("expires on "+cert.NotAfter.Format(day), "a new one, soon")
	}
}

// names reports whether a certificate speaks for an identity.
func names(cert *x509.Certificate, text string) bool {
	id, err := ike.ParseID(text)
	if err != nil {
		return false
	}
	switch id.Kind {
	case ike.IDFQDN:
		return slices.ContainsFunc(cert.DNSNames, func(n string) bool { return strings.EqualFold(n, id.Data) })
	case ike.IDUser:
		return slices.Contains(cert.EmailAddresses, id.Data)
	case ike.IDDN:
		return id.Data == string(cert.RawSubject)
	}
	a, err := config.ParseAddress(text)
	if err != nil {
		return false
	}
	for _, ip := range cert.IPAddresses {
		if b, ok := netip.AddrFromSlice(ip); ok && b.Unmap() == a {
			return true
		}
	}
	return false
}
