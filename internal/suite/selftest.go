package suite

import (
	"bytes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// Broken is an algorithm that failed its self test.
type Broken struct {
	Type TransformType
	ID   uint16
	Name string
	Err  error
}

// String is like "self test of aes_gcm_16: the answer is wrong".
func (b Broken) String() string { return "self test of " + b.Name + ": " + b.Err.Error() }

// SelfTest computes a known answer with every algorithm and returns those that
// failed, so that a daemon does without a miscompiled or broken cipher (see
// Without). It takes some tens of milliseconds, most of it for the MODP groups.
func SelfTest() []Broken { return selfTest(encrs, integs, prfs, kes) }

func selfTest(encrs []*Encr, integs []*Integ, prfs []*PRF, kes []*KE) (broken []Broken) {
	add := func(t TransformType, id uint16, name string, err error) {
		if err != nil {
			broken = append(broken, Broken{t, id, name, err})
		}
	}
	for _, e := range encrs {
		add(TypeEncr, e.ID, e.Name, e.selfTest())
	}
	for _, i := range integs {
		add(TypeInteg, i.ID, i.Name, testMAC(i.Name, i.Sum(bytes.Repeat([]byte{0x0b}, 20), []byte("Hi There"))))
	}
	for _, p := range prfs {
		add(TypePRF, p.ID, p.Name, testMAC(p.Name, p.Sum(bytes.Repeat([]byte{0x0b}, 20), []byte("Hi "), []byte("There"))))
	}
	for _, k := range kes {
		add(TypeKE, k.ID, k.Name, k.selfTest())
	}
	return broken
}

func (e *Encr) selfTest() error {
	tested := 0
	for _, a := range encrAnswers {
		if a.id != e.ID {
			continue
		}
		tested++
		var err error
		if e.AEAD {
			err = a.testAEAD(e)
		} else {
			err = a.testBlock(e)
		}
		if err != nil {
			return err
		}
	}
	if tested == 0 && (e.NewAEAD != nil || e.NewBlock != nil) {
		return errNoAnswer
	}
	return nil
}

var (
	errNoAnswer = errors.New("no known answer")
	errWrong    = errors.New("the answer is wrong")
)

func (a *encrAnswer) testAEAD(e *Encr) error {
	key, nonce, ad, plain, want := unhex(a.key), unhex(a.iv), unhex(a.ad), unhex(a.plain), unhex(a.sealed)
	c, err := e.NewAEAD(key)
	if err != nil {
		return err
	}
	// The answers carry tags of 16 octets; a shorter tag is their beginning
	// (NIST SP 800-38D, 7.1).
	want = want[:len(plain)+e.ICV]
	if !bytes.Equal(c.Seal(nil, nonce, plain, ad), want) {
		return errWrong
	}
	got, err := c.Open(nil, nonce, want, ad)
	if err != nil || !bytes.Equal(got, plain) {
		return errWrong
	}
	want[len(want)-1] ^= 1
	if _, err := c.Open(nil, nonce, want, ad); err == nil {
		return errors.New("a forgery was accepted")
	}
	return nil
}

func (a *encrAnswer) testBlock(e *Encr) error {
	block, err := e.NewBlock(unhex(a.key))
	if err != nil {
		return err
	}
	iv, plain, sealed := unhex(a.iv), unhex(a.plain), unhex(a.sealed)
	got := make([]byte, len(plain))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(got, plain)
	if !bytes.Equal(got, sealed) {
		return errWrong
	}
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(got, sealed)
	if !bytes.Equal(got, plain) {
		return errWrong
	}
	return nil
}

func testMAC(name string, got []byte) error {
	for _, a := range macAnswers {
		if a.name == name {
			if !bytes.Equal(got, unhex(a.mac)[:len(got)]) {
				return errWrong
			}
			return nil
		}
	}
	return errNoAnswer
}

// selfTest runs both sides of an exchange from fixed octets.
func (k *KE) selfTest() error {
	for _, a := range keAnswers {
		if a.id != k.ID {
			continue
		}
		own, err := k.New(bytes.NewReader(unhex(a.initiator)))
		if err != nil {
			return err
		}
		public, theirs, err := k.Respond(bytes.NewReader(unhex(a.responder)), own.Public())
		if err != nil {
			return err
		}
		ours, err := own.Shared(public)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(ours)
		if !bytes.Equal(ours, theirs) || !bytes.Equal(sum[:], unhex(a.shared)) {
			return errWrong
		}
		return nil
	}
	return errNoAnswer
}

// unhex is for the constants of this package.
func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic("suite: bad constant: " + err.Error())
	}
	return b
}
