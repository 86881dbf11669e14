package esp

import (
	"crypto/cipher"
	"hash"
	"sync/atomic"
)

// state is what one packet at a time can use: a keyed hash and CBC chaining.
// Making one costs two hash blocks and several allocations, so they are kept.
type state struct {
	mac      hash.Hash // nil: no integrity
	enc, dec cipher.BlockMode
}

// states is a set of idle ones, without locks. It belongs to the SA and not to
// the Scratch: so there are as many as goroutines ever met at this SA, not one
// for each pair of goroutine and SA, and they die with it.
type states struct {
	mac  hash.Hash // keyed, only ever cloned: the key itself is not kept; nil: no integrity
	idle [idleStates]atomic.Pointer[state]
}

func (p *states) take() *state {
	for i := range p.idle {
		if p.idle[i].Load() != nil {
			if st := p.idle[i].Swap(nil); st != nil {
				return st
			}
		}
	}
	st := new(state)
	if p.mac != nil {
		st.mac = cloned(p.mac)
	}
	return st
}

// cloned copies a hash. That of every algorithm can be, since all are of the
// standard library.
func cloned(h hash.Hash) hash.Hash {
	c, err := h.(hash.Cloner).Clone()
	if err != nil {
		panic("esp: a hash that cannot be cloned: " + err.Error())
	}
	return c
}

func (p *states) give(st *state) {
	for i := range p.idle {
		if p.idle[i].CompareAndSwap(nil, st) {
			return
		}
	}
}

// ivSetter is what the block modes of crypto/cipher offer besides BlockMode,
// and crypto/tls relies on too: starting over without a new allocation. Where
// it is missing, each packet costs one.
type ivSetter interface{ SetIV([]byte) }

func (st *state) encrypter(b cipher.Block, iv []byte) cipher.BlockMode {
	if m, ok := st.enc.(ivSetter); ok {
		m.SetIV(iv)
	} else {
		st.enc = cipher.NewCBCEncrypter(b, iv)
	}
	return st.enc
}

func (st *state) decrypter(b cipher.Block, iv []byte) cipher.BlockMode {
	if m, ok := st.dec.(ivSetter); ok {
		m.SetIV(iv)
	} else {
		st.dec = cipher.NewCBCDecrypter(b, iv)
	}
	return st.dec
}
