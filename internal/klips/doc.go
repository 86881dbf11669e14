// Package klips is the data plane in userspace: it reads packets from TUN
// devices, finds their policy (SPD, shown as eroutes), seals them into ESP, AH,
// IPComp or IP-in-IP and sends them by the underlay; and back, from the underlay
// by the SAD into the TUN device, checking each packet against the selectors of
// the SAs that protected it. It implements ipsec.Backend and ipsec.Inspector. It knows
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
// # The fast path
//
// Nearly all packets have one ESP SA. Out: egress.run, egress.packet, flow cache
// or snapshot.lookup, egress.protect, esp.Out.Seal into the batch,
// underlay.Sender.Send. In: ingress.run, ingress.packet, sad.lookup,
// esp.In.Open, inSA.permits, coalescer.add, tun.Queue.Write.
//
// # Bundles
//
// Several SAs for one packet, or one that is not ESP, take a longer way that
// copies: egress.wrap applies the SAs of a bundle from the inside out, and
// ingress.unwrap takes them off again, insisting on all of them in their order.
// AH covers the outer IP header, so that header is ours then, and not the
// socket's (underlay.Message.Whole).
//
// What comes out of a tunnel may go through another one: egress.leave finds the
// entry for the outer packet in bundle.nest, ingress.deliver the SA for a
// packet that was inside another. Both stop at maxNest.
package klips
