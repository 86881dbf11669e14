package ikev2

import (
	"crypto/hmac"
	"crypto/sha256"
	"io"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// cookieJar makes and checks cookies in the way RFC 7296 section 2.6 suggests:
//
//	Cookie = <VersionIDofSecret> | Hash(Ni | IPi | SPIi | <secret>)
//
// with HMAC-SHA2-256 for the hash and the port among what it covers. The
// secret changes with time; cookies of the last one before are still good.
type cookieJar struct {
	rand    io.Reader
	version uint8
	secrets [2][]byte // current and previous
	until   time.Time // of the current one
}

const cookieSecretLen = 32

// turn replaces the secret when its time is over. After a long pause neither is
// any good.
func (j *cookieJar) turn(now time.Time) {
	if j.secrets[0] != nil && now.Before(j.until) {
		return
	}
	if now.After(j.until.Add(cookieLife)) {
		j.secrets[0] = nil
	}
	j.secrets[1], j.secrets[0] = j.secrets[0], ike.Octets(j.rand, cookieSecretLen)
	j.version++
	j.until = now.Add(cookieLife)
}

// bake makes the cookie of a request.
func (j *cookieJar) bake(now time.Time, in inbound) []byte {
	j.turn(now)
	return cookie(j.version, j.secrets[0], in)
}

// good reports whether a request carries a cookie of ours, so that its source
// address is real.
func (j *cookieJar) good(now time.Time, in inbound) bool {
	n, ok := in.Notify(ike.NotifyCookie)
	if !ok || len(n.Data) == 0 || j.secrets[0] == nil {
		return false
	}
	j.turn(now)
	switch n.Data[0] {
	case j.version:
		return hmac.Equal(n.Data, cookie(j.version, j.secrets[0], in))
	case j.version - 1:
		return j.secrets[1] != nil && hmac.Equal(n.Data, cookie(j.version-1, j.secrets[1], in))
	}
	return false
}

func cookie(version uint8, secret []byte, in inbound) []byte {
	nonce, _ := in.Nonce()
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte{version})
	mac.Write(in.remote.Addr().Unmap().AsSlice())
	mac.Write(octet.AppendUint16(nil, in.remote.Port()))
	mac.Write(octet.AppendUint64(nil, in.SPIi))
	mac.Write(nonce.Data)
	return mac.Sum([]byte{version})
}
