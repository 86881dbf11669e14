package klips

import (
	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
)

// cover returns the inner packet b with zeros behind it, as long as the SA's TFC
// asks and the path permits (RFC 4303 section 2.7). The receiver goes by the
// length in the inner header. A packet that is long enough stays as it is.
func (w *egress) cover(bd *bundle, b []byte) []byte {
	n, room := bd.outer.sa.TFC, bd.room(int(w.d.mtu.Load()))
	if n == ipsec.ToMTU || n > room {
		n = room
	}
	if n <= len(b) {
		return b
	}
	// A copy: behind b in the queue's buffer may lie the next segment.
	if w.covered == nil {
		w.covered = make([]byte, tun.MaxRead+slack)
	}
	w.covered = w.covered[:n]
	clear(w.covered[copy(w.covered, b):])
	return w.covered
}
