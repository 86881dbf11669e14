package ike

import (
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Distinguished names, RFC 5280 section 4.1.2.4, as the text FreeS/WAN's
// X.509 users write: most significant part first, C=CH, O=x, CN=y. Escapes in
// values are those of RFC 4514: \ before a special character or two
// hexadecimal digits.

// rdn is one relative distinguished name: nearly always one attribute.
type rdn []attribute

type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// attributeTypes are the names that DNs are written with; the first name of
// each OID is printed.
var attributeTypes = []struct {
	name string
	oid  asn1.ObjectIdentifier
}{
	{"C", asn1.ObjectIdentifier{2, 5, 4, 6}},
	{"ST", asn1.ObjectIdentifier{2, 5, 4, 8}},
	{"S", asn1.ObjectIdentifier{2, 5, 4, 8}},
	{"L", asn1.ObjectIdentifier{2, 5, 4, 7}},
	{"O", asn1.ObjectIdentifier{2, 5, 4, 10}},
	{"OU", asn1.ObjectIdentifier{2, 5, 4, 11}},
	{"CN", asn1.ObjectIdentifier{2, 5, 4, 3}},
	{"SN", asn1.ObjectIdentifier{2, 5, 4, 4}},
	{"serialNumber", asn1.ObjectIdentifier{2, 5, 4, 5}},
	{"T", asn1.ObjectIdentifier{2, 5, 4, 12}},
	{"D", asn1.ObjectIdentifier{2, 5, 4, 13}},
	{"N", asn1.ObjectIdentifier{2, 5, 4, 41}},
	{"G", asn1.ObjectIdentifier{2, 5, 4, 42}},
	{"I", asn1.ObjectIdentifier{2, 5, 4, 43}},
	{"dnQualifier", asn1.ObjectIdentifier{2, 5, 4, 46}},
	{"E", oidEmail},
	{"emailAddress", oidEmail},
	{"Email", oidEmail},
	{"UID", asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}},
	{"DC", oidDC},
}

var (
	oidEmail = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
	oidDC    = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
)

// parseDN reads the text form into DER.
func parseDN(text string) (ID, error) {
	sep := byte(',')
	if rest, ok := strings.CutPrefix(text, "/"); ok {
		text, sep = rest, '/'
	}
	var name []rdn
	for _, part := range splitDN(text, sep) {
		r, err := parseRDN(part)
		if err != nil {
			return ID{}, fmt.Errorf("distinguished name %q: %w", text, err)
		}
		name = append(name, r)
	}
	der, err := marshalRDNs(name)
	if err != nil {
		return ID{}, fmt.Errorf("distinguished name %q: %w", text, err)
	}
	return ID{IDDN, der}, nil
}

func parseRDN(text string) (rdn, error) {
	var r rdn
	for _, part := range splitDN(text, '+') {
		key, value, ok := strings.Cut(part, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			return nil, fmt.Errorf("%q is not ATTRIBUTE=value", part)
		}
		oid, err := attributeOID(key)
		if err != nil {
			return nil, err
		}
		v, err := unescapeDN(trimDN(value))
		if err != nil {
			return nil, err
		}
		raw, err := attributeValue(oid, v)
		if err != nil {
			return nil, err
		}
		r = append(r, attribute{oid, raw})
	}
	return r, nil
}

func attributeOID(key string) (asn1.ObjectIdentifier, error) {
	for _, t := range attributeTypes {
		if strings.EqualFold(t.name, key) {
			return t.oid, nil
		}
	}
	return nil, fmt.Errorf("unknown attribute %q", key)
}

// attributeValue picks the string type as RFC 5280 section 4.1.2.4 asks:
// PrintableString where it can hold the value, IA5String for mail addresses
// and domain components, else UTF8String.
func attributeValue(oid asn1.ObjectIdentifier, v string) (asn1.RawValue, error) {
	if v == "" {
		return asn1.RawValue{}, errors.New("empty value")
	}
	tag := asn1.TagUTF8String
	switch {
	case oid.Equal(oidEmail), oid.Equal(oidDC):
		if !isASCII(v) {
			return asn1.RawValue{}, fmt.Errorf("value %q must be ASCII", v)
		}
		tag = asn1.TagIA5String
	case isPrintableString(v):
		tag = asn1.TagPrintableString
	case !utf8.ValidString(v):
		return asn1.RawValue{}, fmt.Errorf("value %q is not UTF-8", v)
	}
	return asn1.RawValue{Class: asn1.ClassUniversal, Tag: tag, Bytes: []byte(v)}, nil
}

// splitDN cuts at unescaped separators.
func splitDN(s string, sep byte) []string {
	var parts []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case sep:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// trimDN removes blanks around a value, but not one that is escaped.
func trimDN(s string) string {
	s = strings.TrimLeft(s, " ")
	t := strings.TrimRight(s, " ")
	if n := len(t) - len(strings.TrimRight(t, `\`)); n%2 == 1 && len(t) < len(s) {
		t += " "
	}
	return t
}

func unescapeDN(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			v, _ := hex.DecodeString(s[i+1 : i+3])
			b.WriteByte(v[0])
			i += 2
		case c == '\\' && i+1 < len(s) && !isHex(s[i+1]):
			b.WriteByte(s[i+1])
			i++
		case c == '\\':
			return "", fmt.Errorf(`value %q has a lone \`, s)
		case c < 0x20 || c == 0x7f:
			return "", fmt.Errorf("value %q contains a control character", s)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// formatDN is the text of a DER name, if parseDN makes the same DER of it.
func formatDN(der string) (string, bool) {
	name, err := parseRDNs(der)
	if err != nil || len(name) == 0 {
		return "", false
	}
	var rdns []string
	for _, r := range name {
		var attrs []string
		for _, a := range r {
			key := attributeName(a.Type)
			if key == "" {
				return "", false
			}
			attrs = append(attrs, key+"="+escapeDN(a.Value.Bytes))
		}
		rdns = append(rdns, strings.Join(attrs, "+"))
	}
	text := strings.Join(rdns, ", ")
	again, err := parseDN(text)
	return text, err == nil && again.Data == der
}

func attributeName(oid asn1.ObjectIdentifier) string {
	for _, t := range attributeTypes {
		if t.oid.Equal(oid) {
			return t.name
		}
	}
	return ""
}

func escapeDN(v []byte) string {
	var b strings.Builder
	for i, c := range v {
		switch edge := c == ' ' && (i == 0 || i == len(v)-1); {
		case c < ' ' || c >= 0x7f || edge || c == '"' || c == '\'':
			fmt.Fprintf(&b, `\%02x`, c)
		case strings.IndexByte(`,+/\=;<>#`, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// rdnSET makes encoding/asn1 treat an rdn as a SET OF, by its name's suffix.
type rdnSET []attribute

func parseRDNs(der string) ([]rdn, error) {
	var sets []rdnSET
	rest, err := asn1.Unmarshal([]byte(der), &sets)
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, errors.New("octets after the name")
	}
	name := make([]rdn, len(sets))
	for i, s := range sets {
		name[i] = rdn(s)
	}
	return name, nil
}

func marshalRDNs(name []rdn) (string, error) {
	sets := make([]rdnSET, len(name))
	for i, r := range name {
		sets[i] = rdnSET(r)
	}
	der, err := asn1.Marshal(sets)
	return string(der), err
}

// sameDN compares two names part by part: the same attributes with the same
// octets, whichever string type carries them.
func sameDN(a, b string) bool {
	x, errX := parseRDNs(a)
	y, errY := parseRDNs(b)
	if errX != nil || errY != nil || len(x) != len(y) {
		return false
	}
	for i := range x {
		if len(x[i]) != len(y[i]) {
			return false
		}
		for j := range x[i] {
			p, q := x[i][j], y[i][j]
			if !p.Type.Equal(q.Type) || !sameValue(p.Value, q.Value) {
				return false
			}
		}
	}
	return true
}

// sameValue compares the characters of two values.
func sameValue(p, q asn1.RawValue) bool {
	return textTag(p) && textTag(q) && string(p.Bytes) == string(q.Bytes)
}

// textTag reports whether the octets of a value are its characters in ASCII or
// UTF-8; BMPString and UniversalString are not.
func textTag(v asn1.RawValue) bool {
	if v.Class != asn1.ClassUniversal || v.IsCompound {
		return false
	}
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String:
		return true
	case asn1.TagT61String: // ASCII only is the same in every code page
		return isASCII(string(v.Bytes))
	}
	return false
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// isPrintableString reports whether v fits PrintableString, X.680 section 41.4.
func isPrintableString(v string) bool {
	for i := 0; i < len(v); i++ {
		c := v[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(" '()+,-./:=?", c) >= 0) {
			return false
		}
	}
	return true
}
