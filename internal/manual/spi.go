package manual

import (
	"errors"
	"fmt"

	"cygnet/internal/config"
	"cygnet/internal/ipsec"
)

// numbers are the SPIs of one direction; 0: no such SA.
type numbers struct{ tun, esp, ah ipsec.SPI }

// numbersOf gives the SAs toward an end their SPIs (freeswan.md 2.10 and 8.3,
// vector 7). With spi= all have the same. With spibase= the SAs toward right
// have the even digits and those toward left the odd ones, counted in the order
// tun, esp, ah over those that exist. What an end says of its own wins.
func numbersOf(c *config.Conn, toRight bool) (numbers, error) {
	m, end := &c.Manual, &c.Left
	next := m.SPIBase + 1
	if toRight {
		end, next = &c.Right, m.SPIBase
	}
	var n numbers
	take := func(own ipsec.SPI) (ipsec.SPI, error) {
		spi := m.SPI
		if m.SPIBase != 0 {
			spi, next = next, next+2
		}
		if own != 0 {
			spi = own
		}
		if spi == 0 {
			return 0, errors.New("neither spi nor spibase is given")
		}
		return spi, checkManualSPI(spi)
	}
	var errs [3]error
	if c.Mode() == ipsec.Tunnel {
		n.tun, errs[0] = take(0)
	}
	if m.ESP != "" {
		n.esp, errs[1] = take(end.Manual.ESPSPI)
	}
	if m.AH != "" {
		n.ah, errs[2] = take(end.Manual.AHSPI)
	}
	for _, err := range errs {
		if err != nil {
			return numbers{}, err
		}
	}
	return n, nil
}

// checkManualSPI keeps connections within the range that is theirs (R10.11).
func checkManualSPI(spi ipsec.SPI) error {
	if spi < ipsec.MinSPI || spi >= ipsec.MinAutoSPI {
		return fmt.Errorf("SPI 0x%x is outside 0x%x to 0x%x, which are for manual keying", uint32(spi), uint32(ipsec.MinSPI), uint32(ipsec.MinAutoSPI-1))
	}
	return nil
}
