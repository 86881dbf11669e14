package whack

import (
	"cmp"
	"fmt"
	"time"
)

// The operations about certificates. Reading them again reads all of them, as a
// chain has its pieces in several directories.
const (
	OpReadCerts Op = "rereadcerts"
	OpReadCAs   Op = "rereadcacerts"
	OpReadCRLs  Op = "rereadcrls"

	OpListCerts Op = "listcerts"   // Certs
	OpListCAs   Op = "listcacerts" // Certs
	OpListCRLs  Op = "listcrls"    // CRLs
)

// Certs lists certificates: ours and those of peers, or of authorities.
type Certs struct {
	Schema int    `json:"schema"`
	Title  string `json:"title"`
	Certs  []Cert `json:"certificates"` // by name, then subject
	UTC    bool   `json:"-"`
}

// Cert is one certificate.
type Cert struct {
	Name    string    `json:"name,omitempty"` // as leftcert= has it
	Subject string    `json:"subject"`
	Issuer  string    `json:"issuer"`
	Names   string    `json:"names,omitempty"` // whom it is for
	Serial  string    `json:"serial"`
	Key     string    `json:"key"` // like RSA 2048 bits
	Private bool      `json:"has_private_key"`
	From    time.Time `json:"not_before"`
	Until   time.Time `json:"not_after"`
	State   string    `json:"state"` // ok, expired, not yet valid, revoked
}

// Lines is the list for people.
func (l *Certs) Lines() []string {
	out := []string{"", "List of " + l.Title + ":", ""}
	for _, c := range l.Certs {
		head := fmt.Sprintf("%q", c.Name)
		if c.Name == "" {
			head = c.Subject
		}
		out = append(out, fmt.Sprintf("%s, %s", head, c.State))
		if c.Name != "" {
			out = append(out, "       subject: "+cmp.Or(c.Subject, "(none)"))
		}
		out = append(out, "       issuer:  "+c.Issuer, "       serial:  "+c.Serial)
		if c.Names != "" {
			out = append(out, "       names:   "+c.Names)
		}
		key := c.Key
		if c.Private {
			key += ", has private key"
		}
		out = append(out, "       key:     "+key,
			fmt.Sprintf("       valid:   %s to %s", date(c.From, l.UTC), date(c.Until, l.UTC)))
	}
	return out
}

// CRLs lists certificate revocation lists.
type CRLs struct {
	Schema int   `json:"schema"`
	CRLs   []CRL `json:"crls"` // by issuer, newest first
	UTC    bool  `json:"-"`
}

// CRL is one list.
type CRL struct {
	Issuer  string    `json:"issuer"`
	Revoked int       `json:"revoked"` // how many certificates
	From    time.Time `json:"this_update"`
	Next    time.Time `json:"next_update,omitzero"`
	Fetched bool      `json:"fetched"` // not from ipsec.d/crls
	State   string    `json:"state"`   // ok, expired, unverified
}

// Lines is the list for people.
func (l *CRLs) Lines() []string {
	out := []string{"", "List of X.509 CRLs:", ""}
	for _, c := range l.CRLs {
		from := "file"
		if c.Fetched {
			from = "fetched"
		}
		next := "(none)"
		if !c.Next.IsZero() {
			next = date(c.Next, l.UTC)
		}
		out = append(out, fmt.Sprintf("%s, %s", c.Issuer, c.State), fmt.Sprintf("       revoked: %d (%s)", c.Revoked, from),
			fmt.Sprintf("       updates: this %s, next %s", date(c.From, l.UTC), next))
	}
	return out
}

func date(t time.Time, utc bool) string {
	if utc {
		t = t.UTC()
	} else {
		t = t.Local()
	}
	return t.Format("Jan 02 15:04:05 MST 2006")
}
