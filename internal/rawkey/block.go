package rawkey

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
)

// Block is the RSA block of ipsec.secrets, freeswan.md 3.2.
type Block struct {
	Key     *rsa.PrivateKey
	Comment string // after "# RSA n bits": host and date, as newhostkey writes them
}

// fieldNames in the order that the block must have.
var fieldNames = [...]string{"Modulus", "PublicExponent", "PrivateExponent", "Prime1", "Prime2", "Exponent1", "Exponent2", "Coefficient"}

// ParseBlock reads what stands between the braces: eight fields in fixed
// order, each a name, a colon and key data, with comments anywhere. All parts
// must belong together.
func ParseBlock(text string) (Block, error) {
	var b Block
	var tokens []string
	for line := range strings.Lines(text) {
		body, comment := cutComment(line)
		if rest, ok := strings.CutPrefix(strings.TrimSpace(comment), "RSA "); ok && b.Comment == "" {
			if _, after, ok := strings.Cut(rest, " bits"); ok {
				b.Comment = strings.TrimSpace(after)
			}
		}
		tokens = append(tokens, strings.Fields(body)...)
	}
	numbers, err := blockNumbers(tokens)
	if err != nil {
		return Block{}, err
	}
	b.Key, err = buildKey(numbers)
	return b, err
}

// cutComment splits a line at a # that begins a token.
func cutComment(line string) (body, comment string) {
	for i := 0; i < len(line); i++ {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return line[:i], line[i+1:]
		}
	}
	return line, ""
}

func blockNumbers(tokens []string) ([8]*big.Int, error) {
	var n [8]*big.Int
	for i, name := range fieldNames {
		if len(tokens) < 2 {
			return n, fmt.Errorf("RSA block ends where %s should be", name)
		}
		if !strings.EqualFold(tokens[0], name+":") {
			return n, fmt.Errorf("RSA block: field %d should be %s", i+1, name)
		}
		v, err := Data(tokens[1])
		if err != nil {
			return n, fmt.Errorf("RSA block: %s: %w", name, err)
		}
		if len(v) > MaxRSABits/8+1 {
			return n, fmt.Errorf("RSA block: %s is longer than %d bits", name, MaxRSABits)
		}
		n[i] = new(big.Int).SetBytes(v)
		tokens = tokens[2:]
	}
	if len(tokens) != 0 {
		return n, errors.New("RSA block: unexpected text after Coefficient")
	}
	return n, nil
}

// buildKey makes the key of the eight numbers and verifies them all: n = pq,
// d the inverse of e modulo p-1 and q-1, and the CRT values.
func buildKey(n [8]*big.Int) (*rsa.PrivateKey, error) {
	modulus, e, d, p, q := n[0], n[1], n[2], n[3], n[4]
	one := big.NewInt(1)
	switch {
	case !e.IsInt64() || e.Int64() > 1<<31-1:
		return nil, errors.New("RSA block: PublicExponent is longer than 31 bits")
	case p.Cmp(one) <= 0 || q.Cmp(one) <= 0 || d.Sign() <= 0:
		return nil, errors.New("RSA block: Prime1, Prime2 and PrivateExponent must be positive")
	case new(big.Int).Mul(p, q).Cmp(modulus) != 0:
		return nil, errors.New("RSA block: Modulus is not Prime1 times Prime2")
	}
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: modulus, E: int(e.Int64())}, D: d, Primes: []*big.Int{p, q}}
	if err := checkRSA(&key.PublicKey); err != nil {
		return nil, err
	}
	dp := new(big.Int).Mod(d, new(big.Int).Sub(p, one))
	dq := new(big.Int).Mod(d, new(big.Int).Sub(q, one))
	switch qinv := new(big.Int).ModInverse(q, p); {
	case dp.Cmp(n[5]) != 0:
		return nil, errors.New("RSA block: Exponent1 is not PrivateExponent mod Prime1-1")
	case dq.Cmp(n[6]) != 0:
		return nil, errors.New("RSA block: Exponent2 is not PrivateExponent mod Prime2-1")
	case qinv == nil || qinv.Cmp(n[7]) != 0:
		return nil, errors.New("RSA block: Coefficient is not the inverse of Prime2 mod Prime1")
	}
	key.Precompute()
	if err := key.Validate(); err != nil { // primality, d·e = 1, limits of crypto/rsa
		return nil, fmt.Errorf("RSA block: parts do not belong together: %w", err)
	}
	return key, nil
}

// WriteFields writes the inner lines of the block, as rsasigkey prints them:
// each after a tab, long numbers unbroken. Everything after the line that says
// so is secret.
func (b Block) WriteFields(w io.Writer) error {
	k := b.Key
	if len(k.Primes) != 2 {
		return fmt.Errorf("write RSA block: key has %d primes, not 2", len(k.Primes))
	}
	p, q := k.Primes[0], k.Primes[1]
	if p.Cmp(q) < 0 { // the larger first
		p, q = q, p
	}
	one := big.NewInt(1)
	pub, err := Format(&k.PublicKey)
	if err != nil {
		return err
	}
	numbers := [8]*big.Int{k.N, big.NewInt(int64(k.E)), k.D, p, q,
		new(big.Int).Mod(k.D, new(big.Int).Sub(p, one)),
		new(big.Int).Mod(k.D, new(big.Int).Sub(q, one)),
		new(big.Int).ModInverse(q, p)}
	var t strings.Builder
	fmt.Fprintf(&t, "\t# RSA %d bits   %s\n", k.N.BitLen(), b.Comment)
	fmt.Fprintf(&t, "\t# for signatures only, UNSAFE FOR ENCRYPTION\n\t#pubkey=%s\n", pub)
	for i, name := range fieldNames {
		if name == "PrivateExponent" {
			t.WriteString("\t# everything after this point is secret\n")
		}
		fmt.Fprintf(&t, "\t%s: %s\n", name, hexText(numbers[i].Bytes()))
	}
	_, err = io.WriteString(w, t.String())
	return err
}

// WriteEntry writes the whole entry of ipsec.secrets, as newhostkey does, for
// the given index (empty: the default key). Its first line is in column 1.
func (b Block) WriteEntry(w io.Writer, index string) error {
	if index != "" {
		index += " "
	}
	if _, err := fmt.Fprintf(w, "%s: RSA\t{\n", index); err != nil {
		return err
	}
	if err := b.WriteFields(w); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\t}\n# do not change the indenting of that \"}\"\n")
	return err
}

// Arrange returns the same key with the larger prime first and the private
// exponent reduced modulo lcm(p-1, q-1), or modulo (p-1)(q-1) if phi is set,
// as rsasigkey and its --noopt have it.
func Arrange(key *rsa.PrivateKey, phi bool) (*rsa.PrivateKey, error) {
	if len(key.Primes) != 2 {
		return nil, fmt.Errorf("key has %d primes, not 2", len(key.Primes))
	}
	p, q := key.Primes[0], key.Primes[1]
	if p.Cmp(q) < 0 {
		p, q = q, p
	}
	one := big.NewInt(1)
	p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	order := new(big.Int).Mul(p1, q1)
	if !phi {
		order.Div(order, new(big.Int).GCD(nil, nil, p1, q1))
	}
	d := new(big.Int).ModInverse(big.NewInt(int64(key.E)), order)
	if d == nil {
		return nil, errors.New("public exponent has no inverse")
	}
	k := &rsa.PrivateKey{PublicKey: key.PublicKey, D: d, Primes: []*big.Int{p, q}}
	k.Precompute()
	return k, k.Validate()
}
