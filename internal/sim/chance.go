package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/rand/v2"
)

// chance draws decisions from H(seed, class, where, counter).
type chance struct {
	seed uint64
	used map[string]uint64
}

func newChance(seed uint64) *chance { return &chance{seed, map[string]uint64{}} }

func (c *chance) hash(class, where string, n uint64) [32]byte {
	b := binary.BigEndian.AppendUint64(nil, c.seed)
	b = binary.BigEndian.AppendUint64(b, n)
	b = append(append(append(b, class...), 0), where...)
	return sha256.Sum256(b)
}

// draw returns the next number of a class and place, uniform in [0, 1).
func (c *chance) draw(class, where string) float64 {
	key := class + "\x00" + where
	h := c.hash(class, where, c.used[key])
	c.used[key]++
	return float64(binary.BigEndian.Uint64(h[:8])>>11) / (1 << 53)
}

// hit reports whether an event of probability p happens.
func (c *chance) hit(p float64, class, where string) bool {
	return p > 0 && c.draw(class, where) < p
}

// reader returns an endless stream of octets that belongs to one purpose.
func (c *chance) reader(class, where string) io.Reader {
	return rand.NewChaCha8(c.hash(class, where, 0))
}
