package rawkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Algorithm numbers of IPSECKEY, RFC 4025 and the IANA registry.
const (
	DNSAlgRSA     = 2
	DNSAlgECDSA   = 3 // RFC 8005
	DNSAlgEd25519 = 4 // RFC 9373
)

// DNSKey returns the key field and algorithm of an IPSECKEY record: the RFC
// 3110 blob, the two coordinates of an ECDSA point (RFC 6605 section 4), or
// the raw Ed25519 key (RFC 8080 section 3).
func DNSKey(key crypto.PublicKey) (field []byte, alg uint8, err error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return MarshalRSA(k), DNSAlgRSA, nil
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			return nil, 0, fmt.Errorf("ECDSA key: %w", err)
		}
		return point[1:], DNSAlgECDSA, nil // without the 4 of an uncompressed point
	case ed25519.PublicKey:
		return k, DNSAlgEd25519, nil
	}
	return nil, 0, fmt.Errorf("public key of kind %T has no form in DNS", key)
}

// CheckGateway accepts what may stand as gateway in a TXT record: an address,
// or @ and a domain name.
func CheckGateway(gw string) error {
	name, isName := strings.CutPrefix(gw, "@")
	if isName && domainName(name) {
		return nil
	}
	if a, err := netip.ParseAddr(gw); !isName && err == nil && a.Zone() == "" && !a.IsUnspecified() {
		return nil
	}
	return fmt.Errorf("gateway must be @FQDN or IP address, not %q", gw)
}

func domainName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(".-_", c) >= 0) {
			return false
		}
	}
	return true
}

// TXT returns the strings of the TXT record X-IPsec-Server, at most 255 octets
// each (freeswan.md 4.18). One string if all fits; else the attribute alone
// comes first, and the key, after the blank that separates it, is cut.
func TXT(precedence uint16, gw string, key crypto.PublicKey) ([]string, error) {
	pub, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("TXT records can carry RSA keys only, not %s", Describe(key))
	}
	if err := CheckGateway(gw); err != nil {
		return nil, err
	}
	attr := fmt.Sprintf("X-IPsec-Server(%d)=%s", precedence, gw)
	text := " " + base64.StdEncoding.EncodeToString(MarshalRSA(pub))
	if len(attr)+len(text) <= 255 {
		return []string{attr + text}, nil
	}
	parts := []string{attr}
	for len(text) > 255 {
		parts = append(parts, text[:255])
		text = text[255:]
	}
	return append(parts, text), nil
}

// TXTRecord is the zone file line of TXT without its owner.
func TXTRecord(precedence uint16, gw string, key crypto.PublicKey) (string, error) {
	parts, err := TXT(precedence, gw, key)
	if err != nil {
		return "", err
	}
	for i, p := range parts {
		parts[i] = `"` + p + `"`
	}
	return "\tIN\tTXT\t" + strings.Join(parts, " "), nil
}

// KEYRecord is the zone file line of the KEY record of a host, which RFC 3445
// made obsolete: flags 0x4200, protocol 4, algorithm 1. The flags are decimal
// because some name servers refuse anything else (opportunistic.md 9.3).
func KEYRecord(host string, key crypto.PublicKey) (string, error) {
	pub, ok := key.(*rsa.PublicKey)
	if !ok {
		return "", fmt.Errorf("KEY records can carry RSA keys only, not %s", Describe(key))
	}
	return fmt.Sprintf("%s\tIN\tKEY\t16896 4 1 %s", absolute(host), base64.StdEncoding.EncodeToString(MarshalRSA(pub))), nil
}

// IPSECKEYRecord is the zone file line of RFC 4025, section 3. Gateway is an
// address, a domain name, or empty for none (the owner itself). The key is one
// unbroken token: some name servers refuse anything else.
func IPSECKEYRecord(owner string, precedence uint8, gateway string, key crypto.PublicKey) (string, error) {
	field, alg, err := DNSKey(key)
	if err != nil {
		return "", err
	}
	kind, gw := 0, "."
	a, err := netip.ParseAddr(gateway)
	switch name := strings.TrimPrefix(gateway, "@"); {
	case gateway == "":
	case err == nil && a.Is4():
		kind, gw = 1, a.String()
	case err == nil && a.Is6() && a.Zone() == "":
		kind, gw = 2, a.String()
	case domainName(name):
		kind, gw = 3, absolute(name)
	default:
		return "", fmt.Errorf("gateway must be a domain name or IP address, not %q", gateway)
	}
	return strings.Join([]string{absolute(owner), "IN", "IPSECKEY",
		strings.Join([]string{strconv.Itoa(int(precedence)), strconv.Itoa(kind), strconv.Itoa(int(alg)), gw, base64.StdEncoding.EncodeToString(field)}, " ")}, "\t"), nil
}

func absolute(name string) string { return strings.TrimSuffix(name, ".") + "." }

// ReverseName is the name under in-addr.arpa. or ip6.arpa. of an address.
func ReverseName(a netip.Addr) string {
	a = a.Unmap()
	var b strings.Builder
	octets := a.AsSlice()
	for i := len(octets) - 1; i >= 0; i-- {
		if a.Is4() {
			fmt.Fprintf(&b, "%d.", octets[i])
		} else {
			fmt.Fprintf(&b, "%x.%x.", octets[i]&15, octets[i]>>4)
		}
	}
	if a.Is4() {
		return b.String() + "in-addr.arpa."
	}
	return b.String() + "ip6.arpa."
}
