// Package esp seals and opens one packet of one SA: ESP (RFC 4303), and beside
// it AH (RFC 4302) and IPComp (RFC 3173). It holds the key schedules, the
// sequence number of an outbound SA and the replay window of an inbound one.
// It knows no sockets, no SAD or SPD, no IP routing, no clock; package klips
// calls it, from as many goroutines as there are workers.
//
// # A packet out
//
//	first, err := out.Reserve(len(batch))         // once for a batch
//	for i, p := range batch {
//		pkt := out.Seal(scratch, dst, first+uint64(i), next, p, 0)
//	}
//
// # A packet in
//
//	mu.Lock()                                     // once for a run of packets
//	seq, ok := in.Sequence(pkt)                   // cheap test before the ICV
//	mu.Unlock()
//	payload, next, err := in.Open(scratch, pkt, seq)
//	mu.Lock()
//	newest, err := in.Accept(seq)                 // the window moves only now
//	mu.Unlock()
//
// The second look at the window is not redundant: two workers may hold copies
// of one packet at once, and only one of them may deliver it.
//
// # Concurrency
//
// Out and Open are safe for concurrent use. A Scratch belongs to one goroutine.
// Sequence and Accept read and move the window, so the caller serialises them
// with a mutex of its own beside the In, taken once per run of packets of the
// same SA (2 ns per packet instead of 9, see Window).
//
// # Batches
//
// A multi-buffer or VAES implementation works on many packets at once. The
// border for it is the unexported interface transform: Out.Seal and In.Open
// do everything that is per packet and cheap (header, trailer, checks) and
// leave to transform what touches every octet. A batch form adds SealBatch
// and OpenBatch to Out and In, which prepare all packets in the same way and
// hand a slice of them to a transform that has the batch methods, or to seal
// and open one by one. Nothing in the present signatures stands in its way:
// sequence numbers come from Reserve before sealing, and the window is
// consulted before opening and moved after it, both outside the cipher.
package esp
