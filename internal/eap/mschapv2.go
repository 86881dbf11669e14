package eap

import (
	"crypto/des"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"cygnet/internal/ipsec"
)

// The arithmetic of MSCHAPv2, RFC 2759 section 8, and of the keys made from it,
// RFC 3079 section 3. It rests on MD4, DES and SHA-1, so that one listener with
// patience finds the password: it is safe inside an IKE SA whose responder has
// proven itself, and only there.

const (
	challengeLen = 16
	ntLen        = 24
)

// passwordHash is NtPasswordHash of section 8.3: MD4 of the password in UTF-16.
func passwordHash(password ipsec.Secret) [16]byte {
	var b []byte
	for p := password.Bytes(); len(p) > 0; {
		r, n := utf8.DecodeRune(p)
		for _, u := range utf16.AppendRune(nil, r) {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
		p = p[n:]
	}
	defer clear(b)
	return md4(b)
}

// challengeHash is ChallengeHash of section 8.2. A domain before the name does
// not count.
func challengeHash(peer, server []byte, name string) []byte {
	if i := strings.LastIndexByte(name, '\\'); i >= 0 {
		name = name[i+1:]
	}
	return sum(peer, server, []byte(name))[:8]
}

// ntResponse is ChallengeResponse of section 8.5: the challenge encrypted by
// each third of the hash.
func ntResponse(challenge []byte, hash [16]byte) []byte {
	key := make([]byte, 21)
	copy(key, hash[:])
	defer clear(key)
	out := make([]byte, ntLen)
	for i := range 3 {
		c, err := des.NewCipher(spread(key[7*i : 7*i+7]))
		if err != nil {
			panic("eap: DES: " + err.Error()) // the key has 8 octets
		}
		c.Encrypt(out[8*i:], challenge)
	}
	return out
}

// spread makes 8 octets of a DES key from 56 bits; the parity bits stay 0.
func spread(b []byte) []byte {
	var v uint64
	for _, x := range b {
		v = v<<8 | uint64(x)
	}
	key := make([]byte, 8)
	for i := range key {
		key[i] = byte(v>>(49-7*i)) << 1
	}
	return key
}

// Constants of section 8.7.
const (
	serverMagic = "Magic server to client signing constant"
	padMagic    = "Pad to make it do more than one iteration"
)

// authenticator is GenerateAuthenticatorResponse of section 8.7, by which the
// server shows that it knows the password too.
func authenticator(hash [16]byte, nt, challenge []byte) string {
	again := md4(hash[:])
	d := sum(again[:], nt, []byte(serverMagic))
	return "S=" + strings.ToUpper(hex.EncodeToString(sum(d, challenge, []byte(padMagic))))
}

// Constants of RFC 3079 section 3.4.
const (
	masterMagic = "This is the MPPE Master Key"
	toServer    = "On the client side, this is the send key; on the server side, it is the receive key."
	toClient    = "On the client side, this is the receive key; on the server side, it is the send key."
)

// masterKey is GetMasterKey of RFC 3079 section 3.4.
func masterKey(hash [16]byte, nt []byte) []byte {
	again := md4(hash[:])
	return sum(again[:], nt, []byte(masterMagic))[:16]
}

// startKey is GetAsymmetricStartKey of RFC 3079 section 3.4 for 128 bits.
func startKey(master []byte, magic string) []byte {
	pad1, pad2 := make([]byte, 40), make([]byte, 40)
	for i := range pad2 {
		pad2[i] = 0xf2
	}
	return sum(master, pad1, []byte(magic), pad2)[:16]
}

// mschapMSK joins the keys of both directions, that from the peer first, and
// fills up with zeros (draft-kamath-pppext-eap-mschapv2, section 2.5).
func mschapMSK(hash [16]byte, nt []byte) ipsec.Secret {
	m := masterKey(hash, nt)
	msk := make([]byte, mskLen)
	copy(msk, startKey(m, toServer))
	copy(msk[16:], startKey(m, toClient))
	return ipsec.NewSecret(msk)
}

func sum(parts ...[]byte) []byte {
	h := sha1.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
