package tun

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Options say which device to open and how.
type Options struct {
	Name    string // such as ipsec0
	Queues  int    // 0 means 1
	Persist bool   // the device and its routes outlive the process
	MTU     int    // 0 leaves it
}

// Linux is a TUN device of the kernel.
type Linux struct {
	name     string
	queues   []Queue
	fds      []*queue
	offloads Offloads
}

// Open creates the device, or attaches to it when an earlier process left it
// persistent. It needs CAP_NET_ADMIN. The device is not brought up.
func Open(o Options) (*Linux, error) {
	d := &Linux{name: o.Name}
	for range max(o.Queues, 1) {
		if err := d.addQueue(); err != nil {
			d.Close()
			return nil, fmt.Errorf("open TUN device %s: %w", o.Name, err)
		}
	}
	if o.Persist {
		if err := d.setPersist(true); err != nil {
			d.Close()
			return nil, fmt.Errorf("make TUN device %s persistent: %w", o.Name, err)
		}
	}
	if o.MTU != 0 {
		if err := d.SetMTU(o.MTU); err != nil {
			d.Close()
			return nil, err
		}
	}
	return d, nil
}

func (d *Linux) addQueue() error {
	// Non-blocking, so that os.NewFile gives it to the runtime's poller.
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	off, err := setup(fd, d.name)
	if err != nil {
		unix.Close(fd)
		return err
	}
	// The poller must not see the descriptor before TUNSETIFF: epoll would
	// report an error for a queue without a device.
	q, err := newQueue(os.NewFile(uintptr(fd), "/dev/net/tun"))
	if err != nil {
		unix.Close(fd)
		return err
	}
	d.offloads = off
	d.fds = append(d.fds, q)
	d.queues = append(d.queues, q)
	return nil
}

func setup(fd int, name string) (Offloads, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return Offloads{}, fmt.Errorf("device name %q: %w", name, err)
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		if errors.Is(err, unix.EINVAL) {
			return Offloads{}, fmt.Errorf("a device of that name exists that is no multi-queue TUN: %w", err)
		}
		return Offloads{}, err
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, HeaderLen); err != nil {
		return Offloads{}, fmt.Errorf("set header size: %w", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETLE, 1); err != nil {
		return Offloads{}, fmt.Errorf("set header byte order: %w", err)
	}
	return offloads(fd)
}

// offloads asks for segmentation offloads from the most to the least. Without
// any the device still works, packet by packet.
func offloads(fd int) (Offloads, error) {
	const tso = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
	const uso = unix.TUN_F_USO4 | unix.TUN_F_USO6
	for _, try := range []struct {
		flags int
		off   Offloads
	}{{tso | uso, Offloads{TCP: true, UDP: true}}, {tso, Offloads{TCP: true}}, {0, Offloads{}}} {
		err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, try.flags)
		if err == nil {
			return try.off, nil
		}
		if try.flags == 0 {
			return Offloads{}, fmt.Errorf("set offloads: %w", err)
		}
	}
	panic("unreachable")
}

// Name returns the device's name.
func (d *Linux) Name() string { return d.name }

// Queues returns the queues.
func (d *Linux) Queues() []Queue { return d.queues }

// Offloads returns what the kernel agreed to.
func (d *Linux) Offloads() Offloads { return d.offloads }

// Close closes all queues. The device vanishes unless it is persistent.
func (d *Linux) Close() error {
	var errs []error
	for _, q := range d.fds {
		errs = append(errs, q.close())
	}
	return errors.Join(errs...)
}

// Remove clears the persistent flag and closes: the device and its routes go.
func (d *Linux) Remove() error {
	return errors.Join(d.setPersist(false), d.Close())
}

func (d *Linux) setPersist(on bool) error {
	v := 0
	if on {
		v = 1
	}
	var err error
	cerr := d.fds[0].raw.Control(func(fd uintptr) { err = unix.IoctlSetInt(int(fd), unix.TUNSETPERSIST, v) })
	return errors.Join(cerr, err)
}

// MTU returns the device's MTU in octets.
func (d *Linux) MTU() (int, error) {
	ifr, err := d.ioctl(unix.SIOCGIFMTU, 0)
	if err != nil {
		return 0, fmt.Errorf("read MTU of %s: %w", d.name, err)
	}
	return int(ifr.Uint32()), nil
}

// SetMTU sets the device's MTU in octets.
func (d *Linux) SetMTU(mtu int) error {
	if _, err := d.ioctl(unix.SIOCSIFMTU, uint32(mtu)); err != nil {
		return fmt.Errorf("set MTU of %s to %d: %w", d.name, mtu, err)
	}
	return nil
}

func (d *Linux) ioctl(req uint, v uint32) (*unix.Ifreq, error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq(d.name)
	if err != nil {
		return nil, err
	}
	ifr.SetUint32(v)
	return ifr, unix.IoctlIfreq(s, req, ifr)
}
