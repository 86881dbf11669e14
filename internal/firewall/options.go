package firewall

import "slices"

// Options are what differs from one use to another. The zero value is what a
// daemon wants.
type Options struct {
	NetNS int      // descriptor of a network namespace; 0: the caller's
	Mark  uint32   // the one bit of the packet mark that is ours; 0: DefaultMark
	Ports []uint16 // UDP ports of IKE; none: 500 and 4500
}

// DefaultMark is a bit that the usual users of marks (Kubernetes, Tailscale,
// Docker, Calico's and Cilium's defaults) leave alone.
const DefaultMark = 1 << 12

func (o Options) filled() Options {
	if o.Mark == 0 {
		o.Mark = DefaultMark
	}
	if len(o.Ports) == 0 {
		o.Ports = []uint16{500, 4500}
	}
	o.Ports = slices.Clone(o.Ports)
	return o
}

// Limits of this package.
const (
	// attempts at a transaction that others' changes to the same chains may
	// have made impossible while it was prepared.
	attempts = 3
	// elementsPerMessage keeps a message below the 64 KiB that the length of a
	// netlink attribute can express; an element has up to 150 octets.
	elementsPerMessage = 250
	// socketBuffer holds a transaction of 50000 elements, which must be one
	// write.
	socketBuffer = 16 << 20
	// maxName is how long the name of what a script opens may be: it stands
	// in a comment, and the kernel keeps 256 octets of those.
	maxName = 200
)
