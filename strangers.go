package cygnet

import "net/netip"

// Servers lists whom the resolver asks, so that its questions do not wait for
// the encryption which waits for their answers. An embedder's own resolver is
// not asked about that.
func (n *nameService) Servers() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open == nil {
		return nil
	}
	var list []netip.Addr
	for _, s := range n.open.Servers() {
		list = append(list, s.Addr().Unmap())
	}
	return list
}
