package config

import (
	"fmt"
	"slices"
	"strings"

	"cygnet/internal/ike"
)

// Certificate is what a conn says of one end and X.509.
type Certificate struct {
	File string    // leftcert=: a file of ipsec.d/certs, or a path
	CA   Authority // leftca=
	Send ike.CertSend
}

// Authority is leftca=: who must have issued the certificate. The zero value
// is any CA of ipsec.d/cacerts.
type Authority struct {
	Same bool   // %same: the CA that issued the other end's
	Name ike.ID // its distinguished name
}

// CA is a section ca, as strongSwan has it: a CA that is trusted beside those of
// ipsec.d/cacerts, and where its revocations are told.
type CA struct {
	Name  string
	Where Pos
	Keys  map[string]Pos

	Cert   string    // cacert=: a file of ipsec.d/cacerts, or a path
	CRLs   [2]string // crluri=, crluri2=
	OCSPs  [2]string // ocspuri=, ocspuri2=
	Ignore bool      // auto=ignore
}

// URIs lists those that are given of CRLs or OCSPs.
func URIs(list [2]string) []string {
	return slices.DeleteFunc(list[:], func(u string) bool { return u == "" })
}

// StrictCRL is strictcrlpolicy=.
type StrictCRL uint8

// The values of strictcrlpolicy=.
const (
	StrictNo    StrictCRL = iota
	StrictIfURI           // where the certificate says where to look
	StrictYes
)

// AcceptsCertificate reports whether a certificate of a trusted CA may prove
// who an end is: leftrsasigkey=%cert says so, and so does the other end's cert=
// as long as this one has no key or certificate of its own.
func (e *End) AcceptsCertificate(other *End) bool {
	for _, k := range e.Keys {
		if k.Kind == KeyCert {
			return true
		}
	}
	return len(e.Keys) == 0 && e.Cert.File == "" && other.Cert.File != ""
}

// Certificates lists the files that leftcert= and rightcert= name, each once.
func (f *File) Certificates() []string {
	var names []string
	for _, c := range f.Conns {
		for _, e := range []*End{&c.Left, &c.Right} {
			if e.Cert.File != "" && !slices.Contains(names, e.Cert.File) {
				names = append(names, e.Cert.File)
			}
		}
	}
	return names
}

func usesCert(methods []ike.AuthMethod) bool {
	return slices.Contains(methods, ike.AuthPubkey) || slices.Contains(methods, ike.AuthEAPTLS)
}

// certificates checks what a conn says of X.509 against the rest of it.
func (k *checker) certificates() *Problem {
	for _, s := range k.sides() {
		switch {
		case s.ID.Kind == IdentityFromCert && s.Cert.File == "":
			return k.problem(s.name+"id", s.name+"id=%fromcert, but there is no "+s.name+"cert", "name the certificate, or write the identity")
		case s.Cert.CA.Same && s.other.Cert.File == "":
			return k.problem(s.name+"ca", fmt.Sprintf("%sca=%%same, but the other end has no certificate", s.name), "name the CA")
		case s.Cert.File != "" && len(s.Given()) > 0:
			return k.problem(s.name+"cert", fmt.Sprintf("both %scert and %srsasigkey give a key", s.name, s.name), "leave one of them out")
		case s.Cert.File != "" && len(k.AuthBy) > 0 && !usesCert(k.AuthBy) && !usesCert(s.Auth):
			k.warn(s.name+"cert", "the certificate is not used: authby= does not allow public keys", "write authby=rsasig")
		}
	}
	return nil
}

// caKeys are the parameters of ca sections.
var caKeys = []keyword[CA]{
	{name: "cacert", kind: "file", doc: "The CA's certificate, a file of ipsec.d/cacerts or a path.", field: text(func(c *CA) *string { return &c.Cert })},
	{name: "crluri", aliases: []string{"crluri1"}, kind: "http address", doc: "Where its CRL is fetched from.", field: uri(func(c *CA) *string { return &c.CRLs[0] })},
	{name: "crluri2", kind: "http address", doc: "Another place of its CRL.", field: uri(func(c *CA) *string { return &c.CRLs[1] })},
	{name: "ocspuri", aliases: []string{"ocspuri1"}, kind: "http address", doc: "Its OCSP responder.", field: uri(func(c *CA) *string { return &c.OCSPs[0] })},
	{name: "ocspuri2", kind: "http address", doc: "Another OCSP responder.", field: uri(func(c *CA) *string { return &c.OCSPs[1] })},
	{name: "auto", kind: "add or ignore", def: "add", doc: "ignore: the section is not there.",
		field: enum(func(c *CA) *bool { return &c.Ignore }, word[bool]{"add", false, ""}, word[bool]{"ignore", true, ""})},
	{name: "certuribase", kind: "http address", doc: "Where certificates are for hash and URL.", use: harmless, why: "certificates are sent, not where to fetch them",
		field: field[CA]{parse: func(*CA, value) error { return nil }, print: func(*CA) string { return "" }}},
}

// uri is an address to fetch from.
func uri(at func(*CA) *string) field[CA] {
	return field[CA]{
		parse: func(c *CA, v value) error {
			if l := strings.ToLower(v.text); !strings.HasPrefix(l, "http://") && !strings.HasPrefix(l, "https://") {
				return fmt.Errorf("parameter %q must begin with http:// or https://", v.name)
			}
			*at(c) = v.text
			return nil
		},
		print: func(c *CA) string { return *at(c) },
	}
}

// authority is leftca=.
var authority = field[End]{
	parse: func(e *End, v value) error {
		switch v.text {
		case "%any":
			e.Cert.CA = Authority{}
			return nil
		case "%same":
			e.Cert.CA = Authority{Same: true}
			return nil
		}
		id, err := ike.ParseID(v.text)
		if err != nil || id.Kind != ike.IDDN {
			return mendable{fmt.Errorf("%q is no distinguished name", v.text), `write it as in "C=CH, O=Lab, CN=Lab CA", or %same, or %any`}
		}
		e.Cert.CA = Authority{Name: id}
		return nil
	},
	print: func(e *End) string {
		switch {
		case e.Cert.CA.Same:
			return "%same"
		case e.Cert.CA.Name.IsZero():
			return ""
		}
		return e.Cert.CA.Name.String()
	},
}

// authorities reads the ca sections. One with an error is an error of its own
// and not there; connections that need it say so when they are used.
func (b *builder) authorities() {
	defaults, problem := b.doc.defaults("ca")
	if problem != nil {
		b.fail(problem, "")
		return
	}
	for _, s := range b.doc.sections["ca"] {
		if s.name == "%default" {
			continue
		}
		c, problem := b.authority(s, defaults)
		switch {
		case problem != nil:
			b.fail(problem, "ca "+s.name)
		case !c.Ignore:
			b.CAs = append(b.CAs, c)
		}
	}
}

func (b *builder) authority(s *section, defaults []param) (*CA, *Problem) {
	e, problem := b.doc.expand(s)
	if problem != nil {
		return nil, problem
	}
	e.withDefaults(defaults)
	c := &CA{Name: s.name, Where: s.at, Keys: map[string]Pos{}}
	for _, p := range e.params {
		if p.value == "" {
			continue
		}
		w, problem := keywords().ca[fold(p.key)].apply(c, value{p.name, p.value, p.at})
		if problem != nil {
			return nil, problem
		}
		if w != nil {
			b.warn(w, "")
		}
		c.Keys[p.id()] = p.at
	}
	if c.Cert == "" && !c.Ignore {
		return nil, problemAt(s.at, "cacert", fmt.Sprintf("ca %s has no cacert", s.name), "name the file of the CA's certificate")
	}
	return c, nil
}
