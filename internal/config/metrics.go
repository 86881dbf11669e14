package config

import (
	"fmt"
	"net/netip"
)

// metricsField is metrics=. Figures of who talks to whom, and how much, are not for
// the network, and HTTP proves nobody's identity: whoever collects them from
// elsewhere comes through a tunnel to an agent on this machine.
var metricsField = field[Setup]{
	parse: func(s *Setup, v value) error {
		at, err := netip.ParseAddrPort(v.text)
		switch {
		case err != nil, at.Addr().Zone() != "":
			return fmt.Errorf("%q is not an address and a port, such as 127.0.0.1:9500 or [::1]:9500", v.text)
		case !at.Addr().IsLoopback():
			return fmt.Errorf("%s is not a loopback address, and only those serve metrics: write 127.0.0.1:%d or [::1]:%d", at.Addr(), at.Port(), at.Port())
		case at.Port() == 0:
			return fmt.Errorf("port 0 cannot be asked; write a port, such as %s", netip.AddrPortFrom(at.Addr(), 9500))
		}
		s.Metrics = at
		return nil
	},
	print: func(s *Setup) string {
		if !s.Metrics.IsValid() {
			return ""
		}
		return s.Metrics.String()
	},
}
