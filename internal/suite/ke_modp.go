package suite

import (
	"fmt"
	"io"
	"math/big"

	"filippo.io/bigmod"
)

// The MODP groups, RFC 2409 section 6.2 and RFC 3526. Their primes are
//
//	p = 2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) * pi) + c)
//
// with (p-1)/2 prime too, and the generator is 2.
var (
	modp1024 = modp(2, 1024, 129093, 256, "1024 bits are within reach of a state (CVE-2015-4000)")
	modp1536 = modp(5, 1536, 741804, 256, "1536 bits are below the strength of 112 bits (RFC 8247)")
	modp2048 = modp(14, 2048, 124476, 256, "")
	modp3072 = modp(15, 3072, 1690314, 320, "")
	modp4096 = modp(16, 4096, 240904, 384, "")
)

// modpGroup is one group. Private exponents are short: twice the strength of
// the group in bits and some more (RFC 3526 section 8), for the safe prime
// leaves no small subgroups to leak them in.
type modpGroup struct {
	name     string
	p        *bigmod.Modulus
	exponent int // octets
}

func modp(id uint16, bits, c, exponent int, obsolete string) KE {
	name := fmt.Sprintf("modp_%d", bits)
	p, err := bigmod.NewModulus(modpPrime(bits, c).Bytes())
	if err != nil {
		panic(err) // an even or tiny modulus; the formula gives neither
	}
	g := modpGroup{name, p, exponent / 8}
	return KE{
		ID: id, Name: name, Obsolete: obsolete,
		Conf:   []string{fmt.Sprintf("modp%d", bits), fmt.Sprintf("dh%d", id)},
		Public: bits / 8, Answer: bits / 8,
		New: g.make, Respond: respond(g.make),
	}
}

// modpPrime computes the formula above. Nothing in it is secret, so math/big
// will do.
func modpPrime(bits, c int) *big.Int {
	pi, ok := new(big.Int).SetString(piHex, 16)
	if !ok {
		panic("suite: the digits of pi are not hexadecimal")
	}
	pow := func(n int) *big.Int { return new(big.Int).Lsh(big.NewInt(1), uint(n)) }
	mid := pi.Rsh(pi, uint(piBits-(bits-130)))
	mid.Add(mid, big.NewInt(int64(c)))
	p := pow(bits)
	p.Sub(p, pow(bits-64))
	p.Sub(p, big.NewInt(1))
	return p.Add(p, mid.Lsh(mid, 64))
}

type modpPrivate struct {
	modpGroup
	x, public []byte
}

func (g modpGroup) make(rand io.Reader) (Private, error) {
	x, err := secretOctets(rand, g.exponent)
	if err != nil {
		return nil, err
	}
	two, err := bigmod.NewNat().SetBytes([]byte{2}, g.p)
	if err != nil {
		return nil, err
	}
	return modpPrivate{g, x, bigmod.NewNat().Exp(two, x, g.p).Bytes(g.p)}, nil
}

func (p modpPrivate) Public() []byte { return p.public }

// Shared returns the secret at the length of the prime, leading zeros
// included: RFC 7296, 2.14.
func (p modpPrivate) Shared(peer []byte) ([]byte, error) {
	y, err := p.check(peer)
	if err != nil {
		return nil, err
	}
	return bigmod.NewNat().Exp(y, p.x, p.p).Bytes(p.p), nil
}

// check makes the tests of RFC 6989, 2.1 for groups with a safe prime:
// 1 < y < p-1. RFC 7296, 3.4 asks for the full length.
func (g modpGroup) check(peer []byte) (*bigmod.Nat, error) {
	if len(peer) != g.p.Size() {
		return nil, errPublicSize(g.name, len(peer), g.p.Size())
	}
	y, err := bigmod.NewNat().SetBytes(peer, g.p)
	if err != nil {
		return nil, fmt.Errorf("public value of %s is not below the prime", g.name)
	}
	if y.IsZero()|y.IsOne()|y.IsMinusOne(g.p) != 0 {
		return nil, fmt.Errorf("public value of %s is 0, 1 or p-1", g.name)
	}
	return y, nil
}

// piHex is floor(2^piBits * pi), from which the primes of up to 4096 bits come.
const (
	piBits = 4096 - 130
	piHex  = "" +
		"c90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22" +
		"514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245" +
		"e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5" +
		"ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a" +
		"69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d" +
		"670c354e4abc9804f1746c08ca18217c32905e462e36ce3be39e772c180e8603" +
		"9b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae5" +
		"15d2261898fa051015728e5a8aaac42dad33170d04507a33a85521abdf1cba64" +
		"ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7abf5ae8cdb0933d7" +
		"1e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64" +
		"521f2b18177b200cbbe117577a615d6c770988c0bad946e208e24fa074e5ab31" +
		"43db5bfce0fd108e4b82d120a92108011a723c12a787e6d788719a10bdba5b26" +
		"99c327186af4e23c1a946834b6150bda2583e9ca2ad44ce8dbbbc2db04de8ef9" +
		"2e8efc141fbecaa6287c59474e6bc05d99b2964fa090c3a2233ba186515be7ed" +
		"1f612970cee2d7afb81bdd762170481cd0069127d5b05aa993b4ea988d8fddc1" +
		"86ffb7dc90a6c08f4df435c934028492"
)
