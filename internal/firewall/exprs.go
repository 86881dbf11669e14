package firewall

import (
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// join makes one slice of the parts of a rule.
func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func verdict(k expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: k}} }

// accept ends our chain; others are asked all the same.
func accept() []expr.Any  { return verdict(expr.VerdictAccept) }
func dropped() []expr.Any { return verdict(expr.VerdictDrop) }
func counted() []expr.Any { return []expr.Any{&expr.Counter{}} }

// inDevices matches packets that come or go by a device of ours.
func inDevices(d deviceKey) []expr.Any {
	return []expr.Any{&expr.Meta{Key: d, Register: 1}, &expr.Lookup{SourceRegister: 1, SetName: devicesSet}}
}

func loopback(d deviceKey) []expr.Any { return onlyDevice(d, "lo") }

// onlyDevice matches one device; an empty name matches all.
func onlyDevice(d deviceKey, name string) []expr.Any {
	if name == "" {
		return nil
	}
	return []expr.Any{&expr.Meta{Key: d, Register: 1}, equal(ifName(name)...)}
}

// answerByUs matches packets whose answer would be routed into a device of
// ours.
func answerByUs() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, ResultOIFNAME: true, FlagSADDR: true},
		&expr.Lookup{SourceRegister: 1, SetName: devicesSet},
	}
}

// local matches packets to, or from, an address of this machine.
func local(inbound bool) []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: inbound, FlagSADDR: !inbound},
		equal(binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)...),
	}
}

func protocol(n byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal(n)}
}

// ours are the rules that pass what carries the protected packets, and what
// IPv6 needs of a link before it carries anything.
func ours(o Options, inbound bool) []rule {
	var rules []rule
	for _, p := range []byte{unix.IPPROTO_ESP, unix.IPPROTO_AH} {
		rules = append(rules, rule{"", join(protocol(p), local(inbound), accept())})
	}
	if inbound {
		// Later fragments show no port. Those of ESP in UDP and of IKE must
		// arrive; those of other packets come to nothing, because the first
		// one, which has the port, is judged below.
		for _, v6 := range []bool{false, true} {
			rules = append(rules, rule{"", join(laterFragment(v6), local(inbound), accept())})
		}
	}
	at := uint32(0) // of our port in the UDP header
	if inbound {
		at = 2
	}
	for _, port := range o.Ports {
		rules = append(rules, rule{"", join(protocol(unix.IPPROTO_UDP),
			[]expr.Any{transport(1, at, 2), equal(byte(port>>8), byte(port))}, local(inbound), accept())})
	}
	// Neighbour discovery, RFC 4861: types 133 to 137, and only with the hop
	// limit that no router has lowered.
	return append(rules, rule{"", join(family(true), protocol(unix.IPPROTO_ICMPV6), []expr.Any{
		transport(1, 0, 1),
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: []byte{133}},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: []byte{137}},
		network(1, 7, 1), equal(255),
	}, accept())})
}

// laterFragment matches fragments other than the first.
func laterFragment(v6 bool) []expr.Any {
	var offset expr.Any = network(1, 6, 2)
	mask := []byte{0x1f, 0xff}
	if v6 {
		offset = &expr.Exthdr{Op: expr.ExthdrOpIpv6, DestRegister: 1, Type: unix.IPPROTO_FRAGMENT, Offset: 2, Len: 2}
		mask = []byte{0xff, 0xf8}
	}
	return join(family(v6), []expr.Any{
		offset,
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 2, Mask: mask, Xor: []byte{0, 0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0, 0}},
	})
}

// setMark sets our bit of the mark and leaves the others.
func setMark(bit uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(^bit), Xor: binaryutil.NativeEndian.PutUint32(bit)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
	}
}

func hasMark(bit uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(bit), Xor: make([]byte, 4)},
		equal(binaryutil.NativeEndian.PutUint32(bit)...),
	}
}

// keepSource translates the source address into itself. An accept would not
// do: the next NAT chain is asked all the same, unless the connection is bound.
func keepSource(v6 bool) []expr.Any {
	nat := &expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1}
	load := network(1, 12, 4)
	if v6 {
		nat.Family, load = unix.NFPROTO_IPV6, network(1, 8, 16)
	}
	return []expr.Any{load, nat}
}

const (
	tcpFlags  = 13 // offset in the TCP header
	flagSYN   = 0x02
	flagRST   = 0x04
	optionMSS = 2 // kind of the TCP option, RFC 9293 section 3.2
)

func tcpSYN() []expr.Any {
	return join(protocol(unix.IPPROTO_TCP), []expr.Any{
		transport(1, tcpFlags, 1),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{flagSYN | flagRST}, Xor: []byte{0}},
		equal(flagSYN),
	})
}

// lowerMSS never raises: for a size by its comparison, for the route's the
// kernel sees to it.
func lowerMSS(size uint32) []expr.Any {
	write := &expr.Exthdr{SourceRegister: 1, Type: optionMSS, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt}
	if size == 0 {
		return []expr.Any{
			&expr.Rt{Register: 1, Key: expr.RtTCPMSS},
			&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 2, Size: 2},
			&expr.Counter{},
			write,
		}
	}
	octets := []byte{byte(size >> 8), byte(size)}
	return []expr.Any{
		&expr.Exthdr{DestRegister: 1, Type: optionMSS, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt},
		&expr.Cmp{Op: expr.CmpOpGt, Register: 1, Data: octets},
		&expr.Immediate{Register: 1, Data: octets},
		&expr.Counter{},
		write,
	}
}
