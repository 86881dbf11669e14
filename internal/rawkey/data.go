// Package rawkey reads and writes keys without certificates: the 0x, 0s and 0t
// texts of ipsec.conf, the RSA blob of RFC 3110 that FreeS/WAN publishes, raw
// public keys of other kinds, the RSA block of ipsec.secrets, PEM private keys,
// and the DNS records that carry public keys. It is pure: no files, no DNS, no
// clock. Its errors never contain key material.
package rawkey

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

// Data decodes key data, freeswan.md 2.6: 0x and pairs of hexadecimal digits,
// a single _ allowed between them; 0s and base64 with its padding; 0t and
// literal text. No octets at all is an error.
func Data(text string) ([]byte, error) {
	if len(text) < 2 {
		return nil, errors.New("key data must begin with 0x, 0s or 0t")
	}
	var b []byte
	var err error
	switch digits := text[2:]; text[:2] {
	case "0x", "0X":
		b, err = hexData(digits)
	case "0s", "0S":
		b, err = base64Data(digits)
	case "0t", "0T":
		b = []byte(digits)
	default:
		return nil, errors.New("key data must begin with 0x, 0s or 0t")
	}
	if err == nil && len(b) == 0 {
		err = errors.New("key data has no digits")
	}
	return b, err
}

// IsData reports whether text begins as key data does.
func IsData(text string) bool {
	return len(text) >= 2 && text[0] == '0' && strings.IndexByte("xXsStT", text[1]) >= 0
}

func hexData(digits string) ([]byte, error) {
	var clean []byte
	for i := 0; i < len(digits); i++ {
		if digits[i] != '_' {
			clean = append(clean, digits[i])
			continue
		}
		if i == 0 || i == len(digits)-1 || digits[i-1] == '_' || len(clean)%2 != 0 {
			return nil, errors.New("misplaced _ in hexadecimal key data")
		}
	}
	b := make([]byte, hex.DecodedLen(len(clean)))
	if _, err := hex.Decode(b, clean); err != nil {
		if errors.Is(err, hex.ErrLength) {
			return nil, errors.New("odd number of hexadecimal digits")
		}
		return nil, errors.New("not a hexadecimal digit in key data")
	}
	return b, nil
}

func base64Data(digits string) ([]byte, error) {
	if strings.ContainsAny(digits, "\r\n") { // encoding/base64 would skip them
		return nil, errors.New("line break in base64 key data")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(digits)
	if err != nil {
		return nil, errors.New("bad base64 (groups of four digits, the last one padded with =)")
	}
	return b, nil
}

// hexText is the 0x form of a number, in whole octets.
func hexText(b []byte) string {
	if len(b) == 0 {
		b = []byte{0}
	}
	return "0x" + hex.EncodeToString(b)
}
