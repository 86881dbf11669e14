package sim

import "cygnet/internal/ike"

// traffic counts exchanges and collisions by what an observer on the wire sees
// without any key: the headers.
type traffic struct {
	asked map[conversation]*question
	begun map[uint64]bool // SPIs of initiators
	open  map[link]uint64 // IKE SA begun last on a link and not answered yet
}

// conversation is one direction of an IKE SA's requests.
type conversation struct {
	spiI, spiR  uint64
	byInitiator bool
}

// question is the newest request of a conversation.
type question struct {
	id       uint32
	exchange ike.ExchangeType
	open     bool // not answered yet
}

func newTraffic() traffic {
	return traffic{map[conversation]*question{}, map[uint64]bool{}, map[link]uint64{}}
}

// sent takes in a datagram at the time of its sending.
func (t *traffic) sent(w *World, l link, msg []byte) {
	h, err := ike.ParseHeader(msg)
	switch {
	case err != nil:
	case h.Exchange == ike.SAInit || h.Exchange == ike.Resume:
		t.init(w, l, h)
	case h.Response():
		if q := t.asked[conversation{h.SPIi, h.SPIr, !h.FromInitiator()}]; q != nil && q.id == h.MessageID {
			q.open = false
		}
	default:
		t.request(w, h)
	}
}

func (t *traffic) init(w *World, l link, h ike.Header) {
	back := link{l.to, l.from}
	switch {
	case h.Response() && t.open[back] == h.SPIi:
		delete(t.open, back)
	case h.Response() || t.begun[h.SPIi]:
	default:
		t.begun[h.SPIi] = true
		if h.Exchange == ike.Resume {
			w.Stats.Resumes++
		}
		w.Stats.Exchanges++
		if t.open[back] != 0 {
			w.Stats.CrossedInit++
		}
		t.open[l] = h.SPIi
	}
}

func (t *traffic) request(w *World, h ike.Header) {
	c := conversation{h.SPIi, h.SPIr, h.FromInitiator()}
	q := t.asked[c]
	if q == nil {
		q = &question{}
		t.asked[c] = q
	} else if h.MessageID <= q.id {
		return // a repetition
	}
	*q = question{h.MessageID, h.Exchange, true}
	w.Stats.Exchanges++
	c.byInitiator = !c.byInitiator
	other := t.asked[c]
	switch {
	case other == nil || !other.open:
	case other.exchange == ike.Informational || h.Exchange == ike.Informational:
		w.Stats.CrossedInfo++
	default:
		w.Stats.CrossedCreate++
	}
}
