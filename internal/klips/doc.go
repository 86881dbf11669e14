// Package klips is the data plane in userspace: it reads packets from TUN
// devices, finds their policy (SPD, shown as eroutes), seals them into ESP and
// sends them by the underlay; and back, from the underlay by the SAD into the
// TUN device, checking each packet against the selectors of the SA that
// protected it. It implements ipsec.Backend and ipsec.Inspector. It knows
// neither IKE nor pluto, and sets no addresses and no routes.
//
// # Who runs what
//
// Each TUN queue has one egress goroutine, each receiver of the underlay one
// ingress goroutine. Each runs a packet from its read to its write without
// handing it to another, owns all memory it uses, and sleeps in the poller.
// SPD and SAD are immutable snapshots or single pointers, swapped by the
// methods of Backend; per packet nothing is locked but the replay window.
// One more goroutine looks after lifetimes once a second.
//
// A packet out: egress.run, egress.packet, flow cache or snapshot.lookup,
// egress.protect, esp.Out.Seal into the batch, underlay.Sender.Send.
// A packet in: ingress.run, ingress.packet, sad.lookup, esp.In.Open,
// inSA.permits, coalescer.add, tun.Queue.Write.
package klips
