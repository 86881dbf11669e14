package ikev1

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	"cygnet/internal/ike"
	"cygnet/internal/suite"
)

// Package suite numbers algorithms as IKEv2 does. This file is the one place
// that knows IKEv1's numbers, IANA "Internet Key Exchange (IKE) Attributes" and
// "IPsec and ISAKMP registries". Groups have the same numbers in both.

// encrNumbers maps encryption algorithms: IKEv2 transform ID, phase 1
// attribute value, ESP transform ID; 0 where IKEv1 has none.
var encrNumbers = []struct{ v2, phase1, esp uint16 }{
	{3, 5, 3},   // 3DES-CBC
	{11, 0, 11}, // NULL
	{12, 7, 12}, // AES-CBC
	{18, 0, 18}, // AES-GCM with an ICV of 8 octets, RFC 4106
	{19, 0, 19}, // 12
	{20, 0, 20}, // 16
}

// hashNumbers maps hashes: IKEv2 PRF and integrity IDs, phase 1 hash attribute,
// authentication algorithm attribute of ESP and AH, AH transform ID.
var hashNumbers = []struct {
	prf, integ       uint16
	phase1, auth, ah uint16
	name             string
	new              func() hash.Hash
}{
	{1, 1, 1, 1, 2, "MD5", md5.New},
	{2, 2, 2, 2, 3, "SHA", sha1.New},
	{5, 12, 4, 5, 5, "SHA2_256", sha256.New},
	{6, 13, 5, 6, 6, "SHA2_384", sha512.New384},
	{7, 14, 6, 7, 7, "SHA2_512", sha512.New},
}

// groupNumbers are the groups that both versions have and that we implement.
// X25519 and ML-KEM have no number in IKEv1.
var groupNumbers = []uint16{2, 5, 14, 15, 16, 19, 20, 21}

// Attribute classes of phase 1, RFC 2409 appendix A.
const (
	attrEncr      uint16 = 1
	attrHash      uint16 = 2
	attrMethod    uint16 = 3
	attrGroup     uint16 = 4
	attrLifeType  uint16 = 11
	attrLife      uint16 = 12
	attrKeyLength uint16 = 14
)

// Attribute classes of phase 2, RFC 2407 section 4.5.
const (
	attr2LifeType  uint16 = 1
	attr2Life      uint16 = 2
	attr2Group     uint16 = 3
	attr2Mode      uint16 = 4
	attr2Auth      uint16 = 5
	attr2KeyLength uint16 = 6
)

// Values of attributes.
const (
	lifeSeconds   = 1
	lifeKilobytes = 2

	methodPSK    = 1
	methodRSASig = 3

	modeTunnel    = 1
	modeTransport = 2

	transformKeyIKE  = 1 // RFC 2407, 4.4.2.1
	transformDeflate = 2 // RFC 2407, 4.4.5
)

// Encapsulation modes with UDP, RFC 3947 section 5.1, and as the drafts before
// it numbered them.
const (
	modeUDPTunnel         = 3
	modeUDPTransport      = 4
	modeDraftUDPTunnel    = 61443
	modeDraftUDPTransport = 61444
)

func encrPhase1(e *suite.Encr) uint16 {
	for _, n := range encrNumbers {
		if n.v2 == e.ID {
			return n.phase1
		}
	}
	return 0
}

func encrOfPhase1(number uint64) *suite.Encr {
	for _, n := range encrNumbers {
		if uint64(n.phase1) == number && number != 0 {
			return suite.EncrByID(n.v2)
		}
	}
	return nil
}

func encrESP(e *suite.Encr) uint16 {
	for _, n := range encrNumbers {
		if n.v2 == e.ID {
			return n.esp
		}
	}
	return 0
}

func encrOfESP(number uint8) *suite.Encr {
	for _, n := range encrNumbers {
		if n.esp == uint16(number) && number != 0 {
			return suite.EncrByID(n.v2)
		}
	}
	return nil
}

func hashPhase1(p *suite.PRF) uint16 {
	for _, n := range hashNumbers {
		if n.prf == p.ID {
			return n.phase1
		}
	}
	return 0
}

func prfOfPhase1(number uint64) *suite.PRF {
	for _, n := range hashNumbers {
		if uint64(n.phase1) == number {
			return suite.PRFByID(n.prf)
		}
	}
	return nil
}

// newHash returns the hash that goes with a PRF: in IKEv1 one attribute names
// both.
func newHash(p *suite.PRF) hash.Hash {
	for _, n := range hashNumbers {
		if n.prf == p.ID {
			return n.new()
		}
	}
	panic("ikev1: no hash for " + p.Name)
}

// integNumbers returns the authentication attribute and AH transform of an
// integrity algorithm.
func integNumbers(i *suite.Integ) (auth, ah uint16) {
	for _, n := range hashNumbers {
		if n.integ == i.ID {
			return n.auth, n.ah
		}
	}
	return 0, 0
}

func integOfAuth(number uint64) *suite.Integ {
	for _, n := range hashNumbers {
		if uint64(n.auth) == number {
			return suite.IntegByID(n.integ)
		}
	}
	return nil
}

func integOfAH(number uint8) *suite.Integ {
	for _, n := range hashNumbers {
		if n.ah == uint16(number) {
			return suite.IntegByID(n.integ)
		}
	}
	return nil
}

// groupOf returns a group of IKEv1, or nil.
func groupOf(number uint64) *suite.KE {
	for _, n := range groupNumbers {
		if uint64(n) == number {
			return suite.KEByID(n)
		}
	}
	return nil
}

func methodNumber(m ike.AuthMethod) uint32 {
	if m == ike.AuthPSK {
		return methodPSK
	}
	return methodRSASig
}

// methodOf maps an authentication method attribute. DSS (2) and RSA encryption
// (4 and 5) have no code here (V1-07).
func methodOf(number uint64) (ike.AuthMethod, bool) {
	switch number {
	case methodPSK:
		return ike.AuthPSK, true
	case methodRSASig:
		return ike.AuthPubkey, true
	}
	return ike.AuthNever, false
}

// methodName is what FreeS/WAN called a method.
func methodName(number uint64) string {
	switch number {
	case methodPSK:
		return "OAKLEY_PRESHARED_KEY"
	case 2:
		return "OAKLEY_DSS_SIG"
	case methodRSASig:
		return "OAKLEY_RSA_SIG"
	case 4:
		return "OAKLEY_RSA_ENC"
	case 5:
		return "OAKLEY_RSA_ENC_REV"
	}
	return fmt.Sprintf("OAKLEY_AUTH_%d", number)
}
