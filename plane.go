package cygnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/klips"
	"cygnet/internal/pluto"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// plane is the data plane in userspace with real devices and sockets.
type plane struct{ *klips.Plane }

var _ pluto.Plane = plane{}

// newPlane applies the settings of config setup that hold for all devices. TCP
// connections learn the room in a tunnel by their MSS as well, since ICMP does
// not get through everywhere.
func newPlane(s *config.Setup) plane {
	o := klips.Options{ClampMSS: true, CopyTOS: !s.HideTOS}
	switch s.FragICMP {
	case config.FragNo:
		o.TooBig = klips.SendOnly
	case config.FragStrict:
		o.TooBig = klips.Strict
	}
	return plane{klips.New(o)}
}

// Attach implements pluto.Plane.
func (p plane) Attach(a pluto.Attachment) (underlay.Underlay, error) {
	queues := runtime.NumCPU()
	dev, err := tun.Open(tun.Options{Name: a.Virtual, Queues: queues, Persist: true})
	if err != nil {
		return nil, err
	}
	wire, err := underlay.Open(underlay.Options{Device: a.Physical, IKEPort: a.IKEPort, NATTPort: a.NATPort, Queues: queues, NoUDP: a.NoIKE, ListenTCP: a.ListenTCP})
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	err = p.Plane.Attach(klips.Interface{Virtual: a.Virtual, Physical: a.Physical, TUN: dev, Underlay: wire, Addrs: a.Addrs})
	if err != nil {
		return nil, errors.Join(err, wire.Close(), dev.Close())
	}
	return wire, nil
}

// lookupTime bounds the search for one host name of ipsec.secrets.
const lookupTime = 5 * time.Second

func lookup(name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, fmt.Errorf("look up %q: %w", name, err)
	}
	return addrs, nil
}
