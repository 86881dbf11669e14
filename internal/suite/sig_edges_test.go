package suite

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"slices"
	"testing"
)

// rsaEdges is an RSA key that signs any block, and checks under the laxest policy.
type rsaEdges struct {
	*testing.T
	key *rsa.PrivateKey
}

func newRSAEdges(t *testing.T, bits int) rsaEdges {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return rsaEdges{t, key}
}

// raw is the signature whose block is that.
func (r rsaEdges) raw(block []byte) []byte {
	return new(big.Int).Exp(new(big.Int).SetBytes(block), r.key.D, r.key.N).FillBytes(make([]byte, r.key.Size()))
}

// scheme is that with a name.
func (r rsaEdges) scheme(name string) *scheme {
	r.Helper()
	i := slices.IndexFunc(schemes, func(s scheme) bool { return s.name == name })
	if i < 0 {
		r.Fatal(name)
	}
	return &schemes[i]
}

// with is the value of AUTH with an AlgorithmIdentifier.
func with(id, sig []byte) []byte { return slices.Concat([]byte{byte(len(id))}, id, sig) }

// wants checks AUTH of method 14 over octets.
func (r rsaEdges) wants(name string, id, sig, octets []byte, good bool) {
	r.Helper()
	err := SignaturePolicy{SHA1: true, ShortRSA: true}.Verify(&r.key.PublicKey, MethodDigital, octets, with(id, sig))
	if (err == nil) != good {
		r.Errorf("%s: %v", name, err)
	}
}

// CRY-10: signatures at the edges of the numbers, under each RSA scheme, SHA-1's
// method and IKEv1's.
func TestAdv_CRY_10_NumericEdges(t *testing.T) {
	r := newRSAEdges(t, 2048)
	size, n := r.key.Size(), r.key.N
	num := func(x *big.Int) []byte { return x.FillBytes(make([]byte, size)) }
	add := func(d int64) []byte { return num(new(big.Int).Add(n, big.NewInt(d))) }
	edges := map[string][]byte{
		"empty": {}, "one octet": {0}, "zero": make([]byte, size), "one": num(big.NewInt(1)), "two": num(big.NewInt(2)),
		"n-1": add(-1), "n": add(0), "n+1": add(1), "all ones": bytes.Repeat([]byte{0xff}, size),
	}
	octets := []byte("octets")
	check := func(scheme string, verify func(sig []byte) error, good []byte) {
		if err := verify(good); err != nil {
			t.Fatalf("%s, its own signature: %v", scheme, err)
		}
		for name, sig := range edges {
			if verify(sig) == nil {
				t.Errorf("%s: %s verifies", scheme, name)
			}
		}
		for name, sig := range map[string][]byte{
			"zero before": slices.Concat([]byte{0}, good), "zero behind": append(slices.Clone(good), 0),
			"first octet cut": good[1:], "last octet cut": good[:size-1], "twice": slices.Concat(good, good),
		} {
			if verify(sig) == nil {
				t.Errorf("%s: %s verifies", scheme, name)
			}
		}
	}
	lax := SignaturePolicy{SHA1: true, ShortRSA: true}
	for i := range schemes {
		s := &schemes[i]
		if s.kind != sigPSS && s.kind != sigPKCS1 {
			continue
		}
		good, err := s.sign(rand.Reader, r.key, octets)
		if err != nil {
			t.Fatal(err)
		}
		check(s.name, func(sig []byte) error {
			return lax.Verify(r.key.Public(), MethodDigital, octets, with(s.id, sig))
		}, good)
	}
	sha1, err := r.key.Sign(rand.Reader, digest(crypto.SHA1, octets), crypto.SHA1)
	if err != nil {
		t.Fatal(err)
	}
	check("method 1", func(sig []byte) error { return lax.Verify(r.key.Public(), MethodRSA, octets, sig) }, sha1)
	hash := digest(crypto.SHA256, octets)
	v1, err := SignHash(rand.Reader, r.key, hash)
	if err != nil {
		t.Fatal(err)
	}
	check("IKEv1", func(sig []byte) error { return lax.VerifyHash(r.key.Public(), hash, sig) }, v1)

	// s and s+n mean the same to the arithmetic; only the lesser is a
	// signature (RFC 8017, 5.2.2). Half the numbers below n leave room for the sum.
	for try := byte(0); ; try++ {
		octets := []byte{try}
		sig, err := r.scheme("RSA with SHA2-256").sign(rand.Reader, r.key, octets)
		if err != nil {
			t.Fatal(err)
		}
		sum := new(big.Int).Add(new(big.Int).SetBytes(sig), n)
		if sum.BitLen() <= 8*size {
			r.wants("s", r.scheme("RSA with SHA2-256").id, sig, octets, true)
			r.wants("s+n", r.scheme("RSA with SHA2-256").id, num(sum), octets, false)
			return
		}
		if try == 255 {
			t.Fatal("no signature leaves room for n")
		}
	}
}

// digestInfo is the DigestInfo of SHA2-256 with these parameters after the OID.
func digestInfo(sum, params []byte) []byte {
	return tlv(0x30, tlv(0x30, tlv(0x06, oidSHA256), params), tlv(0x04, sum))
}

// pkcs1Block is 00 type padding 00 content, as long as size.
func pkcs1Block(size int, kind, pad byte, content []byte) []byte {
	b := bytes.Repeat([]byte{pad}, size)
	b[0], b[1] = 0, kind
	copy(b[size-len(content):], content)
	b[size-len(content)-1] = 0
	return b
}

// CRY-11: of PKCS#1 v1.5 only the one encoding passes, octet by octet (RFC 8017,
// 8.2.2): every other octet of the block, and what lax decoders were fooled by.
func TestAdv_CRY_11_OneEncoding(t *testing.T) {
	r := newRSAEdges(t, 1024)
	size, octets := r.key.Size(), []byte("octets")
	sum := digest(crypto.SHA256, octets)
	id := r.scheme("RSA with SHA2-256").id
	good := pkcs1Block(size, 1, 0xff, digestInfo(sum, derNull))
	r.wants("the encoding", id, r.raw(good), octets, true)
	for i := 1; i < size; i++ { // the first octet is zero, or the number above n
		block := slices.Clone(good)
		block[i] ^= 1 << (i % 8)
		r.wants("another octet", id, r.raw(block), octets, false)
	}
	long := slices.Concat([]byte{0x30, 0x81, 0x31}, digestInfo(sum, derNull)[2:])
	inner := digestInfo(sum, derNull)
	innerLong := slices.Concat(inner[:2], []byte{0x30, 0x81, 0x0d}, inner[4:])
	innerLong[1]++
	for name, content := range map[string][]byte{
		"NULL missing":                 digestInfo(sum, nil),
		"NULL twice":                   digestInfo(sum, slices.Concat(derNull, derNull)),
		"parameters that are not NULL": digestInfo(sum, []byte{0x04, 0x00}),
		"long NULL":                    digestInfo(sum, []byte{0x05, 0x81, 0x00}),
		"hash cut":                     digestInfo(sum[:31], derNull),
		"hash cut to nothing":          digestInfo(nil, derNull),
		"hash longer":                  digestInfo(append(slices.Clone(sum), 0), derNull),
		"the hash alone":               sum,
		"trailing octet":               append(digestInfo(sum, derNull), 0),
		"trailing octets inside":       tlv(0x30, tlv(0x30, tlv(0x06, oidSHA256), derNull), tlv(0x04, sum), derNull),
		"long form of a length":        long,
		"long form of a length inside": innerLong,
		"indefinite length":            slices.Concat([]byte{0x30, 0x80}, digestInfo(sum, derNull)[2:], []byte{0, 0}),
		"another hash's OID":           tlv(0x30, tlv(0x30, tlv(0x06, oidSHA384), derNull), tlv(0x04, sum)),
		"nothing":                      nil,
	} {
		r.wants(name, id, r.raw(pkcs1Block(size, 1, 0xff, content)), octets, false)
	}
	short := slices.Concat([]byte{0, 1}, bytes.Repeat([]byte{0xff}, 8), []byte{0}, digestInfo(sum, derNull))
	for name, block := range map[string][]byte{
		"type 0":                      pkcs1Block(size, 0, 0, digestInfo(sum, derNull)),
		"type 2":                      pkcs1Block(size, 2, 0xff, digestInfo(sum, derNull)),
		"padding of zeros":            pkcs1Block(size, 1, 0, digestInfo(sum, derNull)),
		"eight of padding, then junk": append(slices.Clone(short), bytes.Repeat([]byte{0xaa}, size-len(short))...),
		"eight of padding, then zero": append(slices.Clone(short), make([]byte, size-len(short))...),
		"the content in front":        append(digestInfo(sum, derNull), make([]byte, size-len(inner))...)[:size],
	} {
		if new(big.Int).SetBytes(block).Cmp(r.key.N) < 0 {
			r.wants(name, id, r.raw(block), octets, false)
		}
	}
}

// CRY-11: Bleichenbacher's forgery of 2006 needs no key: with exponent 3 the cube
// root of a block that ends in junk is a signature to whoever reads the block from
// the front and stops.
func TestAdv_CRY_11_CubeRoots(t *testing.T) {
	r := newRSAEdges(t, 2048)
	pub := rsa.PublicKey{N: r.key.N, E: 3}
	octets := []byte("octets")
	for _, params := range [][]byte{derNull, nil} {
		front := slices.Concat([]byte{0, 1}, bytes.Repeat([]byte{0xff}, 8), []byte{0}, digestInfo(digest(crypto.SHA256, octets), params))
		block := append(slices.Clone(front), bytes.Repeat([]byte{0xff}, pub.Size()-len(front))...)
		root := cubeRoot(new(big.Int).SetBytes(block))
		cube := new(big.Int).Exp(root, big.NewInt(3), nil).FillBytes(make([]byte, pub.Size()))
		if !bytes.HasPrefix(cube, front) {
			t.Fatalf("no forgery: %x", cube[:len(front)])
		}
		sig := root.FillBytes(make([]byte, pub.Size()))
		for _, name := range []string{"RSA with SHA2-256", "RSA-PSS with SHA2-256"} {
			if VerifySignature(&pub, MethodDigital, octets, with(r.scheme(name).id, sig)) == nil {
				t.Errorf("%s: the forgery verifies", name)
			}
		}
	}
	// The same against IKEv1, whose block names no hash.
	hash := digest(crypto.SHA256, octets)
	front := slices.Concat([]byte{0, 1}, bytes.Repeat([]byte{0xff}, 8), []byte{0}, hash)
	block := append(slices.Clone(front), bytes.Repeat([]byte{0xff}, pub.Size()-len(front))...)
	sig := cubeRoot(new(big.Int).SetBytes(block)).FillBytes(make([]byte, pub.Size()))
	if (SignaturePolicy{}).VerifyHash(&pub, hash, sig) == nil {
		t.Error("IKEv1: the forgery verifies")
	}
}

// cubeRoot is the greatest number whose cube is at most x.
func cubeRoot(x *big.Int) *big.Int {
	root := new(big.Int)
	for bit := x.BitLen() / 3; bit >= 0; bit-- {
		try := new(big.Int).SetBit(root, bit, 1)
		if new(big.Int).Exp(try, big.NewInt(3), nil).Cmp(x) <= 0 {
			root = try
		}
	}
	return root
}

// pssBlock is EMSA-PSS-ENCODE of RFC 8017, 9.1.1, with any salt and trailer, the
// mask by a hash of its own.
func pssBlock(bits int, h, mask crypto.Hash, octets, salt []byte, trailer byte) []byte {
	size := (bits - 1 + 7) / 8
	sum := digest(h, slices.Concat(make([]byte, 8), digest(h, octets), salt))
	db := make([]byte, size-len(sum)-1)
	db[len(db)-len(salt)-1] = 1
	copy(db[len(db)-len(salt):], salt)
	for i, n := 0, byte(0); i < len(db); n++ {
		for _, m := range digest(mask, slices.Concat(sum, []byte{0, 0, 0, n})) {
			if i < len(db) {
				db[i] ^= m
				i++
			}
		}
	}
	db[0] &= 0xff >> (8*size - (bits - 1))
	return slices.Concat(db, sum, []byte{trailer})
}

// CRY-12: PSS with every length of the salt, another trailer and another mask; then
// parameters that no set of ours has. Salt and hash are of one length, and nothing
// in the identifier is computed with.
func TestAdv_CRY_12_PSSParameters(t *testing.T) {
	r := newRSAEdges(t, 1024)
	octets, bits := []byte("octets"), r.key.N.BitLen()
	s := r.scheme("RSA-PSS with SHA2-256")
	const most = 1024/8 - 32 - 2
	salted := func(n int) []byte { return bytes.Repeat([]byte{0x5a}, n) }
	for n := 0; n <= most; n++ {
		r.wants("salt", s.id, r.raw(pssBlock(bits, s.hash, s.hash, octets, salted(n), 0xbc)), octets, n == 32)
	}
	good := r.raw(pssBlock(bits, s.hash, s.hash, octets, salted(32), 0xbc))
	r.wants("trailer of ISO 9796-2", s.id, r.raw(pssBlock(bits, s.hash, s.hash, octets, salted(32), 0xcc)), octets, false)
	r.wants("mask by another hash", s.id, r.raw(pssBlock(bits, s.hash, crypto.SHA1, octets, salted(32), 0xbc)), octets, false)
	r.wants("another hash", s.id, r.raw(pssBlock(bits, crypto.SHA384, crypto.SHA384, octets, salted(32), 0xbc)), octets, false)
	for _, also := range s.also {
		r.wants("an allowed set", also, good, octets, true)
	}

	hash := tlv(0x30, tlv(0x06, oidSHA256), derNull)
	mask := tlv(0xa1, tlv(0x30, tlv(0x06, oidPKCS1, []byte{8}), hash))
	set := func(params ...[]byte) []byte { return tlv(0x30, tlv(0x06, oidPKCS1, []byte{10}), tlv(0x30, params...)) }
	salt := func(n ...byte) []byte { return tlv(0xa2, tlv(0x02, n)) }
	a0 := tlv(0xa0, hash)
	r.wants("the set in pieces", set(a0, mask, salt(32)), good, octets, true)
	for name, id := range map[string][]byte{
		"salt 0":                   set(a0, mask, salt(0)),
		"salt 20, by default":      set(a0, mask),
		"salt of the most":         set(a0, mask, salt(most)),
		"salt of one more":         set(a0, mask, salt(most+1)),
		"salt 2^31-1":              set(a0, mask, salt(0x7f, 0xff, 0xff, 0xff)),
		"salt 2^31":                set(a0, mask, salt(0, 0x80, 0, 0, 0)),
		"salt -2^31":               set(a0, mask, salt(0x80, 0, 0, 0)),
		"salt -1":                  set(a0, mask, salt(0xff)),
		"salt 2^64+32":             set(a0, mask, salt(1, 0, 0, 0, 0, 0, 0, 0, 32)),
		"salt 32, longer":          set(a0, mask, salt(0, 32)),
		"salt without octets":      set(a0, mask, salt()),
		"trailer 2":                set(a0, mask, salt(32), tlv(0xa3, tlv(0x02, []byte{2}))),
		"trailer 0":                set(a0, mask, salt(32), tlv(0xa3, tlv(0x02, []byte{0}))),
		"mask absent":              set(a0, salt(32)),
		"mask without its hash":    set(a0, tlv(0xa1, tlv(0x30, tlv(0x06, oidPKCS1, []byte{8}))), salt(32)),
		"mask that is not MGF1":    set(a0, tlv(0xa1, tlv(0x30, tlv(0x06, oidPKCS1, []byte{9}), hash)), salt(32)),
		"hash absent":              set(mask, salt(32)),
		"all absent":               set(),
		"no parameters":            tlv(0x30, tlv(0x06, oidPKCS1, []byte{10})),
		"parameters that are NULL": tlv(0x30, tlv(0x06, oidPKCS1, []byte{10}), derNull),
		"hashes that differ":       set(tlv(0xa0, tlv(0x30, tlv(0x06, oidSHA384), derNull)), mask, salt(32)),
		"out of order":             set(mask, a0, salt(32)),
		"salt twice":               set(a0, mask, salt(32), salt(32)),
	} {
		r.wants(name, id, good, octets, false)
	}
}

// CRY-13: r and s at the edges of their range, DER that is not minimal, and either
// form where the other is due, on each curve.
func TestAdv_CRY_13_ECDSAEdges(t *testing.T) {
	for _, c := range []struct {
		curve  elliptic.Curve
		scheme string
	}{{elliptic.P256(), "ECDSA with SHA2-256"}, {elliptic.P384(), "ECDSA with SHA2-384"}, {elliptic.P521(), "ECDSA with SHA2-512"}} {
		key, err := ecdsa.GenerateKey(c.curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		s := schemes[slices.IndexFunc(schemes, func(s scheme) bool { return s.name == c.scheme })]
		e := ecEdges{T: t, key: key, id: s.id, octets: []byte("octets"), size: (c.curve.Params().BitSize + 7) / 8}
		r, ss, err := ecdsa.Sign(rand.Reader, key, digest(s.hash, e.octets))
		if err != nil {
			t.Fatal(err)
		}
		e.numbers(r, ss)
		e.encodings(r, ss)
	}
}

type ecEdges struct {
	*testing.T
	key        *ecdsa.PrivateKey
	id, octets []byte
	size       int
}

func (e ecEdges) wants(name string, method uint8, data []byte, good bool) {
	e.Helper()
	if err := VerifySignature(e.key.Public(), method, e.octets, data); (err == nil) != good {
		e.Errorf("%s, %s: %v", e.key.Params().Name, name, err)
	}
}

// numbers tries r and s beside their range in both forms.
func (e ecEdges) numbers(r, s *big.Int) {
	e.Helper()
	e.both("r and s", r, s, true)
	n, one := e.key.Params().N, big.NewInt(1)
	sum := func(a, b *big.Int) *big.Int { return new(big.Int).Add(a, b) }
	for name, x := range map[string]*big.Int{
		"0": {}, "1": one, "n-1": new(big.Int).Sub(n, one), "n": n, "n+1": sum(n, one), "p": e.key.Params().P,
	} {
		e.both("r = "+name, x, s, false)
		e.both("s = "+name, r, x, false)
		e.both("both "+name, x, x, false)
	}
	e.both("r+n", sum(r, n), s, false)
	e.both("s+n", r, sum(s, n), false)
	e.both("s and r", s, r, false)
	e.both("-r", new(big.Int).Neg(r), s, false)
	e.both("-s", r, new(big.Int).Neg(s), false)
	e.both("r far above", new(big.Int).Lsh(r, 4096), s, false)
}

func (e ecEdges) both(name string, r, s *big.Int, good bool) {
	e.Helper()
	e.wants(name+" in DER", MethodDigital, with(e.id, derOf(derInt(r), derInt(s))), good)
	if r.Sign() >= 0 && s.Sign() >= 0 && r.BitLen() <= 8*e.size && s.BitLen() <= 8*e.size { // or there is no raw form
		e.wants(name+" raw", rawMethod(&e.key.PublicKey), e.raw(r, s), good)
	}
}

func (e ecEdges) raw(r, s *big.Int) []byte {
	return slices.Concat(r.FillBytes(make([]byte, e.size)), s.FillBytes(make([]byte, e.size)))
}

// encodings tries what is no DER, and forms of the other method.
func (e ecEdges) encodings(r, s *big.Int) {
	e.Helper()
	ri, si := derInt(r), derInt(s)
	der, method := derOf(ri, si), rawMethod(&e.key.PublicKey)
	long := func(tag byte, body []byte) []byte { // a length of one octet more than it needs
		return slices.Concat([]byte{tag, 0x82, 0, byte(len(body))}, body)
	}
	body := slices.Concat(ri, si)
	for name, data := range map[string][]byte{
		"zero before r":           derOf(derRaw(0x02, slices.Concat([]byte{0}, ri[2:])), si),
		"zero before s":           derOf(ri, derRaw(0x02, slices.Concat([]byte{0}, si[2:]))),
		"long length":             long(0x30, body),
		"long length of r":        derOf(long(0x02, ri[2:]), si),
		"indefinite length":       slices.Concat([]byte{0x30, 0x80}, body, []byte{0, 0}),
		"trailing octet":          append(slices.Clone(der), 0),
		"third number":            derOf(ri, si, []byte{2, 1, 1}),
		"one number":              derOf(ri),
		"no number":               derOf(),
		"nothing":                 nil,
		"integers without octets": derOf([]byte{2, 0}, []byte{2, 0}),
		"octet strings":           derOf(derRaw(0x04, ri[2:]), derRaw(0x04, si[2:])),
		"a set":                   derRaw(0x31, body),
		"cut":                     der[:len(der)-1],
		"raw":                     e.raw(r, s),
	} {
		e.wants(name+" where DER is due", MethodDigital, with(e.id, data), false)
	}
	raw := e.raw(r, s)
	for name, data := range map[string][]byte{
		"DER": der, "nothing": nil, "one octet more": append(slices.Clone(raw), 0), "zero before": slices.Concat([]byte{0}, raw),
		"one octet less": raw[:len(raw)-1], "an AlgorithmIdentifier": with(e.id, raw), "r alone": raw[:e.size],
		"each number an octet longer": slices.Concat([]byte{0}, raw[:e.size], []byte{0}, raw[e.size:]),
	} {
		e.wants(name+" where raw is due", method, data, false)
	}
}

// derOf is a SEQUENCE; derInt an INTEGER in its shortest form, of two's complement.
func derOf(parts ...[]byte) []byte { return derRaw(0x30, slices.Concat(parts...)) }

func derInt(x *big.Int) []byte {
	if x.Sign() < 0 {
		bits := uint(x.BitLen()/8+1) * 8
		return derRaw(0x02, new(big.Int).Add(x, new(big.Int).Lsh(big.NewInt(1), bits)).Bytes())
	}
	b := x.Bytes()
	if len(b) == 0 || b[0]&0x80 != 0 {
		b = slices.Concat([]byte{0}, b)
	}
	return derRaw(0x02, b)
}

func derRaw(tag byte, body []byte) []byte {
	n := len(body)
	switch {
	case n < 0x80:
		return slices.Concat([]byte{tag, byte(n)}, body)
	case n < 0x100:
		return slices.Concat([]byte{tag, 0x81, byte(n)}, body)
	}
	return slices.Concat([]byte{tag, 0x82, byte(n >> 8), byte(n)}, body)
}
