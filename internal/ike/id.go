package ike

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// IDKind is the ID type of RFC 7296 section 3.5 (and RFC 2407, 4.6.2.1).
type IDKind uint8

// The kinds of identity. IDNone is the zero value: no identity, or %any.
const (
	IDNone   IDKind = 0
	IDIPv4   IDKind = 1
	IDFQDN   IDKind = 2
	IDUser   IDKind = 3 // user@example.org, ID_RFC822_ADDR
	IDIPv6   IDKind = 5
	IDDN     IDKind = 9 // DER of an X.501 name
	IDKeyID  IDKind = 11
	IDNULL   IDKind = 13 // RFC 7619
	maxIDLen        = 1024
)

// ID is an identity. Data holds the octets as they stand on the wire, so IDs
// compare with == ; Equal adds the case rules of names.
type ID struct {
	Kind IDKind
	Data string
}

// HostNameError is ParseID's error for a host name without @. FreeS/WAN takes
// such a name as the address it resolves to; whoever may ask DNS does so and
// uses IDOfAddr.
type HostNameError struct{ Name string }

// Error implements error.
func (e *HostNameError) Error() string {
	return fmt.Sprintf("%q is a host name that must be resolved to an address (write @%s for the name itself)", e.Name, e.Name)
}

// ParseID reads an identity as ipsec.conf and ipsec.secrets have it:
//
//	192.0.2.1, 2001:db8::1   an address
//	@gw.example.org          a name, never resolved
//	user@example.org         a mail address; @@text is one whatever text is
//	C=CH, O=x, CN=y          a distinguished name, also as /C=CH/O=x/CN=y
//	@#c0ffee                 octets of a KEY_ID
//	@~3014…                  octets of a distinguished name in DER
//	%any, 0.0.0.0, ::        IDNone
//	%null                    RFC 7619
//
// In the @ and mail forms \xHH stands for an octet. A name without @ is a
// *HostNameError.
func ParseID(text string) (ID, error) {
	id, err := parseID(text)
	if err == nil && len(id.Data) > maxIDLen {
		return ID{}, fmt.Errorf("identity of %d octets is longer than %d", len(id.Data), maxIDLen)
	}
	return id, err
}

func parseID(text string) (ID, error) {
	switch {
	case text == "":
		return ID{}, errors.New("empty identity")
	case text == "%any", text == "%any6":
		return ID{}, nil
	case text == "%null":
		return ID{Kind: IDNULL}, nil
	case strings.HasPrefix(text, "%"):
		return ID{}, fmt.Errorf("unknown identity %q", text)
	case strings.HasPrefix(text, "@#"):
		return octetID(IDKeyID, text[2:])
	case strings.HasPrefix(text, "@~"):
		return octetID(IDDN, text[2:])
	case strings.HasPrefix(text, "@@"):
		return nameID(IDUser, text[2:])
	case strings.HasPrefix(text, "@"):
		return nameID(IDFQDN, text[1:])
	case strings.Contains(text, "="):
		return parseDN(text)
	case strings.Contains(text, "@"):
		return nameID(IDUser, text)
	}
	if a, err := netip.ParseAddr(text); err == nil {
		if a.Zone() != "" {
			return ID{}, fmt.Errorf("identity %q has a zone, which means nothing to the peer", text)
		}
		return IDOfAddr(a), nil
	}
	if !hostName(text) {
		return ID{}, fmt.Errorf("%q is neither an address nor a name", text)
	}
	return ID{}, &HostNameError{text}
}

// IDOfAddr returns the identity that is an address; IDNone for the zero and
// the unspecified addresses.
func IDOfAddr(a netip.Addr) ID {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid() || a.IsUnspecified():
		return ID{}
	case a.Is4():
		return ID{IDIPv4, string(a.AsSlice())}
	}
	return ID{IDIPv6, string(a.AsSlice())}
}

// Addr returns the address that the identity is, if it is one.
func (id ID) Addr() (netip.Addr, bool) {
	if id.Kind != IDIPv4 && id.Kind != IDIPv6 {
		return netip.Addr{}, false
	}
	a, ok := netip.AddrFromSlice([]byte(id.Data))
	return a, ok && a.Is4() == (id.Kind == IDIPv4)
}

// Check says whether a peer may call itself that: an error means that the
// octets do not fit the kind. It does not say that the peer is who it claims.
func (id ID) Check() error {
	if len(id.Data) > maxIDLen {
		return fmt.Errorf("identity of %d octets is longer than %d", len(id.Data), maxIDLen)
	}
	switch id.Kind {
	case IDIPv4, IDIPv6:
		if a, ok := id.Addr(); !ok || a.IsUnspecified() {
			return fmt.Errorf("identity %v is no usable address", id)
		}
	case IDFQDN, IDUser, IDKeyID:
		if id.Data == "" {
			return errors.New("empty identity")
		}
	case IDDN:
		if _, err := parseRDNs(id.Data); err != nil {
			return fmt.Errorf("identity is no distinguished name: %w", err)
		}
	case IDNULL:
	default:
		return fmt.Errorf("identity of unknown kind %d", id.Kind)
	}
	return nil
}

// String is the text that ParseID reads. Octets that a peer may have chosen
// are escaped, so it is one line of printable ASCII whatever they are. What
// ParseID has no form for prints as id, the kind, a colon and hexadecimal.
func (id ID) String() string {
	switch id.Kind {
	case IDNone:
		return "%any"
	case IDNULL:
		return "%null"
	case IDIPv4, IDIPv6:
		if a, ok := id.Addr(); ok && !a.IsUnspecified() && !a.Is4In6() {
			return a.String()
		}
	case IDFQDN:
		if id.Data != "" {
			return "@" + escapeName(id.Data, true)
		}
	case IDUser:
		if at := strings.IndexByte(id.Data, '@'); at > 0 && !strings.ContainsAny(id.Data, "=") && id.Data[0] != '%' {
			return escapeName(id.Data, false)
		}
		if id.Data != "" {
			return "@@" + escapeName(id.Data, false)
		}
	case IDDN:
		if text, ok := formatDN(id.Data); ok {
			return text
		}
		if id.Data != "" {
			return "@~" + hex.EncodeToString([]byte(id.Data))
		}
	case IDKeyID:
		if id.Data != "" {
			return "@#" + hex.EncodeToString([]byte(id.Data))
		}
	}
	return fmt.Sprintf("id%d:%x", id.Kind, id.Data)
}

// MarshalText is String, for JSON output.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// IsZero reports whether there is no identity.
func (id ID) IsZero() bool { return id == ID{} }

// Equal reports whether two identities are the same: names without regard to
// ASCII case and trailing dots, distinguished names without regard to the
// string types of their values, everything else octet by octet.
func (id ID) Equal(other ID) bool {
	if id.Kind != other.Kind {
		return false
	}
	switch id.Kind {
	case IDFQDN, IDUser:
		return foldName(id.Data) == foldName(other.Data)
	case IDDN:
		return id.Data == other.Data || sameDN(id.Data, other.Data)
	case IDNULL: // RFC 7619, 2.2: its data mean nothing
		return true
	}
	return id.Data == other.Data
}

// foldName lowers ASCII letters only: other octets of a name mean themselves.
func foldName(s string) string {
	b := []byte(strings.TrimRight(s, "."))
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func octetID(kind IDKind, digits string) (ID, error) {
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) == 0 {
		return ID{}, fmt.Errorf("%q is not pairs of hexadecimal digits", digits)
	}
	return ID{kind, string(b)}, nil
}

func nameID(kind IDKind, text string) (ID, error) {
	var b []byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\':
			v, err := strconv.ParseUint(escapeDigits(text[i:]), 16, 8)
			if err != nil {
				return ID{}, fmt.Errorf(`identity %q: \ must be followed by x and two hexadecimal digits`, text)
			}
			b = append(b, byte(v))
			i += 3
		case c < 0x20 || c == 0x7f:
			return ID{}, fmt.Errorf("identity %q contains a control character", text)
		default:
			b = append(b, c)
		}
	}
	if len(b) == 0 {
		return ID{}, errors.New("empty identity")
	}
	return ID{kind, string(b)}, nil
}

// escapeDigits returns HH of a leading \xHH, or nothing.
func escapeDigits(s string) string {
	if len(s) < 4 || s[1] != 'x' || strings.ContainsAny(s[2:4], "+-_") {
		return ""
	}
	return s[2:4]
}

// escapeName escapes all but plain characters. In a name after a single @,
// a leading # ~ or @ would change the kind.
func escapeName(s string, afterAt bool) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		lead := afterAt && i == 0 && strings.IndexByte("#~@", c) >= 0
		if lead || c <= ' ' || c >= 0x7f || strings.IndexByte(`"'\`, c) >= 0 {
			fmt.Fprintf(&b, `\x%02x`, c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func hostName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(".-_", c) >= 0) {
			return false
		}
	}
	// A last label of digits only is a mistyped address, never a name
	// (RFC 3696 section 2).
	label := s[strings.LastIndexByte(strings.TrimRight(s, "."), '.')+1:]
	return strings.Trim(label, "0123456789.") != "" && s[0] != '-' && s[0] != '.' && len(s) < 256
}
