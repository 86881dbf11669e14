package pki

import (
	"crypto/x509"
	"slices"
	"strings"

	"cygnet/internal/ike"
)

// checkName is RFC 4945 section 3.1: the ID payload must be the subject, or an
// alternative name of the very same type. A common name is never taken for a
// host name, an address in text never for an address, and wildcards mean
// nothing.
func checkName(c *x509.Certificate, id ike.ID) *Error {
	if Names(c, id) {
		return nil
	}
	return refuse(StepIdentity, "it is not for '%s'", id)
}

// Names reports whether a certificate is for an identity.
func Names(c *x509.Certificate, id ike.ID) bool {
	switch id.Kind {
	case ike.IDDN:
		return !noName(c.RawSubject) && id.Equal(subjectOf(c))
	case ike.IDFQDN:
		return slices.ContainsFunc(c.DNSNames, func(n string) bool { return sameHost(n, id.Data) })
	case ike.IDUser:
		return slices.ContainsFunc(c.EmailAddresses, func(n string) bool { return sameMailbox(n, id.Data) })
	case ike.IDIPv4, ike.IDIPv6:
		if _, ok := id.Addr(); !ok {
			return false
		}
		for _, a := range c.IPAddresses {
			if string(a) == id.Data {
				return true
			}
		}
	}
	return false
}

// NamesOf lists the identities that a certificate is for, as text for a person.
func NamesOf(c *x509.Certificate) string {
	var list []string
	if !noName(c.RawSubject) {
		list = append(list, "'"+nameOf(c.RawSubject)+"'")
	}
	for _, n := range c.DNSNames {
		list = append(list, "'@"+n+"'")
	}
	for _, n := range c.EmailAddresses {
		list = append(list, "'"+n+"'")
	}
	for _, a := range c.IPAddresses {
		list = append(list, "'"+a.String()+"'")
	}
	if len(list) == 0 {
		return "nobody"
	}
	return printable(strings.Join(list, ", "))
}

// Same reports whether an identity that the configuration names is that of a
// certificate's holder. It is stricter than ike.ID.Equal: Bob@example.org may be
// somebody else than bob@example.org, and a CA may know both.
func Same(configured, peer ike.ID) bool {
	if configured.Kind == ike.IDUser && peer.Kind == ike.IDUser {
		return sameMailbox(configured.Data, peer.Data)
	}
	return configured.Equal(peer)
}

func subjectOf(c *x509.Certificate) ike.ID { return ike.ID{Kind: ike.IDDN, Data: string(c.RawSubject)} }
func issuerOf(c *x509.Certificate) ike.ID  { return ike.ID{Kind: ike.IDDN, Data: string(c.RawIssuer)} }

// noName reports whether a name is the empty sequence, which is nobody's.
func noName(der []byte) bool { return len(der) <= 2 }

// sameHost compares domain names: ASCII letters without regard to case, every
// other octet as it is. A name with a wildcard equals nothing, not even itself.
func sameHost(a, b string) bool {
	return a != "" && !strings.Contains(a, "*") && lower(a) == lower(b)
}

// sameMailbox is RFC 5280 section 7.5: case counts before the @.
func sameMailbox(a, b string) bool {
	i, j := strings.LastIndexByte(a, '@'), strings.LastIndexByte(b, '@')
	return i > 0 && i == j && a[:i] == b[:j] && sameHost(a[i+1:], b[j+1:])
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
