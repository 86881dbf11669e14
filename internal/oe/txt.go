package oe

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"

	"cygnet/internal/octet"
	"cygnet/internal/rawkey"
)

const (
	txtAttribute = "X-IPsec-Server"
	txtBlank     = " \t\r\n"
)

// parseTXT reads the strings of a TXT record, joined without anything between
// them, as opportunistic.md 7.3 has it:
//
//	X-IPsec-Server ( precedence ) = gateway [key]
//
// Blanks may stand around each part and inside the key.
func parseTXT(rdata []byte, maxRSA int) (Record, error) {
	text, ok := joinStrings(rdata)
	rest := strings.TrimLeft(text, txtBlank)
	if !ok || len(rest) < len(txtAttribute) || !strings.EqualFold(rest[:len(txtAttribute)], txtAttribute) {
		return Record{}, ErrForeign
	}
	switch {
	case len(text) > maxTXT:
		return Record{}, unusable("TXT of %d octets, more than %d", len(text), maxTXT)
	case strings.IndexByte(text, 0) >= 0:
		return Record{}, malformed("TXT with a NUL inside")
	}
	number, rest, ok := txtPrecedence(rest[len(txtAttribute):])
	if !ok {
		return Record{}, malformed("TXT is not %s(number)=gateway", txtAttribute)
	}
	precedence, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return Record{}, malformed("precedence %q of a TXT is no number up to 65535", number)
	}
	rec := Record{Type: TypeTXT, Precedence: uint16(precedence)}
	gw, key := rest, ""
	if i := strings.IndexAny(rest, txtBlank); i >= 0 {
		gw, key = rest[:i], rest[i:]
	}
	if rec.Gateway, ok = txtGateway(gw); !ok {
		return Record{}, malformed("gateway %q of a TXT is no address and no @name", gw)
	}
	return txtKey(rec, key, maxRSA)
}

// txtPrecedence takes ( number ) = off the front of text.
func txtPrecedence(text string) (number, rest string, ok bool) {
	text, open := strings.CutPrefix(strings.TrimLeft(text, txtBlank), "(")
	number, rest, closed := strings.Cut(text, ")")
	rest, equals := strings.CutPrefix(strings.TrimLeft(rest, txtBlank), "=")
	return strings.Trim(number, txtBlank), strings.TrimLeft(rest, txtBlank), open && closed && equals
}

func txtGateway(text string) (Gateway, bool) {
	if name, ok := strings.CutPrefix(text, "@"); ok {
		return Gateway{Name: Name(name)}, hostName(name)
	}
	a, err := netip.ParseAddr(text)
	return Gateway{Addr: a.Unmap()}, err == nil && a.Zone() == "" && !a.IsUnspecified()
}

// txtKey adds the key to rec: base64 of an RFC 3110 blob, or nothing. A key that
// is no base64 is malformed, one that is but cannot be used only that.
func txtKey(rec Record, text string, maxRSA int) (Record, error) {
	text = strings.Map(func(r rune) rune {
		if strings.ContainsRune(txtBlank, r) {
			return -1
		}
		return r
	}, text)
	if text == "" {
		return rec, nil
	}
	blob, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return Record{}, malformed("key of a TXT is no base64")
	}
	rec.Key, err = parseRSA(blob, maxRSA)
	return rec, err
}

// joinStrings reads the strings of a TXT record, RFC 1035, section 3.3.14.
func joinStrings(rdata []byte) (string, bool) {
	var text []byte
	r := octet.NewReader(rdata)
	for r.Len() > 0 {
		text = append(text, r.Bytes(int(r.Uint8()))...)
	}
	return string(text), r.Err() == nil
}

// AppendTXT appends the RDATA of a TXT record X-IPsec-Server, which carries RSA
// keys only. A record without gateway or key has no such form.
func (rec Record) AppendTXT(b []byte) ([]byte, error) {
	gw := rec.Gateway.Addr.String()
	if rec.Gateway.Name != "" {
		gw = "@" + strings.TrimSuffix(rec.Gateway.Name, ".")
	}
	parts, err := rawkey.TXT(rec.Precedence, gw, rec.Key)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		b = append(append(b, byte(len(p))), p...)
	}
	return b, nil
}

// AppendKEY appends the RDATA of a KEY record.
func (rec Record) AppendKEY(b []byte) ([]byte, error) {
	key, ok := rec.Key.(*rsa.PublicKey)
	if !ok {
		return nil, unusable("KEY records can carry RSA keys only")
	}
	b = octet.AppendUint16(b, keyFlagsHost)
	return bytes.Join([][]byte{b, {keyProtocolIPsec, keyAlgorithmRSA}, rawkey.MarshalRSA(key)}, nil), nil
}
