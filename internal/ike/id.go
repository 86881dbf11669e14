package ike

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
