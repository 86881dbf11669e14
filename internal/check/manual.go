package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// oldKey is the age from which the key of a manual connection is worth a word.
const oldKey = 30 * 24 * time.Hour

func manualKeying(g *Gateway, out *found) {
	for _, c := range g.tunnels() {
		if !manual(c) {
			continue
		}
		what := "its keys are static"
		key := "espenckey"
		for _, k := range []string{"espauthkey", "ahkey", "spi", "spibase"} {
			if _, ok := c.Keys[key]; !ok {
				key = k
			}
		}
		if age := g.age(at(c, key).File); age >= oldKey {
			what = fmt.Sprintf("its keys are static, and the file that holds them was last written %d days ago", int(age.Hours()/24))
		}
		out.at(at(c, key), c.Name, what, "automatic keying, if the peer can; else new keys from ipsec ranbits, often")
	}
}

func (g *Gateway) age(file string) time.Duration {
	if g.Facts == nil {
		return 0
	}
	return g.Facts.Age[file]
}

// spiRange is the numbers that one connection takes.
type spiRange struct {
	low, high ipsec.SPI
	conn      *config.Conn
	key       string
}

func manualSPIs(g *Gateway, out *found) {
	fromParser(g, out) // numbers out of range are refused there
	var taken []spiRange
	for _, c := range g.tunnels() {
		for _, r := range spisOf(c) {
			i := slices.IndexFunc(taken, func(t spiRange) bool { return t.conn != c && t.low <= r.high && r.low <= t.high })
			if i >= 0 {
				out.at(at(c, r.key), c.Name, fmt.Sprintf("%s 0x%x is one of connection %q", r.key, uint32(r.low), taken[i].conn.Name), fmt.Sprintf("another number from 0x%x to 0x%x", uint32(ipsec.MinSPI), uint32(ipsec.MinAutoSPI-1)))
			}
			taken = append(taken, r)
		}
	}
}

// spisOf lists what a connection takes: spi= for all its SAs, spibase= sixteen
// numbers (freeswan.md 8.3, 7).
func spisOf(c *config.Conn) []spiRange {
	var list []spiRange
	for _, s := range []struct {
		key  string
		from ipsec.SPI
		more ipsec.SPI
	}{
		{"spi", c.Manual.SPI, 0}, {"spibase", c.Manual.SPIBase, 0xf},
		{"leftespspi", c.Left.Manual.ESPSPI, 0}, {"rightespspi", c.Right.Manual.ESPSPI, 0},
		{"leftahspi", c.Left.Manual.AHSPI, 0}, {"rightahspi", c.Right.Manual.AHSPI, 0},
	} {
		if s.from != 0 {
			list = append(list, spiRange{s.from, s.from + s.more, c, s.key})
		}
	}
	return list
}

func unauthenticated(g *Gateway, out *found) {
	for _, c := range g.tunnels() {
		if !manual(c) || c.Manual.ESP == "" || c.Manual.AH != "" || authenticates(c.Manual.ESP) {
			continue
		}
		f := out.at(at(c, "esp"), c.Name, fmt.Sprintf("esp=%s has no authentication, and there is no ah=", c.Manual.ESP), "esp="+c.Manual.ESP+"-sha2_256 and espauthkey=, or ah=")
		if c.Manual.AllowNoAuth {
			f.Severity = Warning
			f.What += "; allow-noauth=yes accepts that"
		}
	}
}

// authenticates reports whether an ESP transform of manual keying has an
// integrity algorithm. The parser of proposals would fill one in.
func authenticates(text string) bool {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return r == '-' || r == ';' })
	for _, w := range words {
		if suite.IntegByName(w) != nil {
			return true
		}
	}
	list, err := suite.ParseESP(text)
	return err == nil && list[0].AEAD()
}
