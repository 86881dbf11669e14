package manual

import (
	"fmt"

	"cygnet/internal/config"
	"cygnet/internal/ipsec"
)

// Duplicates finds connections by hand that use the same SA, which only the
// first of them to come up can have (R10.10).
func Duplicates(conns []*config.Conn) []config.Problem {
	type said struct {
		dst   config.Host
		proto ipsec.Proto
		spi   ipsec.SPI
	}
	first := map[said]*config.Conn{}
	var problems []config.Problem
	for _, c := range conns {
		if _, shunt := c.Shunt(); shunt || c.Manual.SPI == 0 && c.Manual.SPIBase == 0 {
			continue
		}
		clash := false
		for _, toRight := range []bool{true, false} {
			n, err := numbersOf(c, toRight)
			if err != nil {
				continue
			}
			dst := c.Left.Host
			if toRight {
				dst = c.Right.Host
			}
			for _, id := range []said{{dst, ipsec.Tun, n.tun}, {dst, ipsec.ESP, n.esp}, {dst, ipsec.AH, n.ah}} {
				other := first[id]
				switch {
				case id.spi == 0:
				case other == nil:
					first[id] = c
				case other != c && !clash:
					clash = true
					problems = append(problems, duplicate(c, other, id.spi))
				}
			}
		}
	}
	return problems
}

func duplicate(c, other *config.Conn, spi ipsec.SPI) config.Problem {
	key := "spi"
	if c.Manual.SPIBase != 0 {
		key = "spibase"
	}
	at := c.Keys[key]
	return config.Problem{File: at.File, Line: at.Line, Conn: c.Name, Key: key,
		Text: fmt.Sprintf("connection %q has SPI 0x%x to the same address as connection %q", c.Name, uint32(spi), other.Name),
		Mend: "give each connection its own, from 0x100 to 0xfff"}
}
