package manual

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"cygnet/internal/ipsec"
)

// Spec is one SA as `ipsec spi` describes it: at most one of the transforms,
// none for IP-in-IP.
type Spec struct {
	ID              ipsec.SAID
	Src             netip.Addr
	ESP, AH, Comp   string
	EncKey, AuthKey ipsec.Secret
	Replay          int
	Life            string // ITEM=N,ITEM=N
}

// maxReplay is the widest replay window of SAs by hand (freeswan.md 4.9, P4).
const maxReplay = 64

// SA makes the SA. ours tells addresses of this machine: an SA from one of
// them is for packets that go out.
func (s Spec) SA(ours func(netip.Addr) bool) (ipsec.SA, error) {
	sa := ipsec.SA{ID: s.ID, Src: s.Src, Dir: ipsec.In, EncrKey: s.EncKey, IntegKey: s.AuthKey, Replay: s.Replay}
	if ours(s.Src) {
		sa.Dir = ipsec.Out
	}
	switch {
	case !s.Src.IsValid() || s.Src.Is4() != s.ID.Dst.Is4():
		return sa, fmt.Errorf("%s: source and destination must be addresses of one family", s.ID)
	case s.Replay < 0 || s.Replay > maxReplay:
		return sa, fmt.Errorf("replay window of %d packets, but 0 to %d are possible", s.Replay, maxReplay)
	}
	u, err := s.suite()
	if err != nil {
		return sa, err
	}
	if err := u.CheckEncrKey(s.EncKey); err != nil {
		return sa, fmt.Errorf("encryption: %w", err)
	}
	if err := u.CheckIntegKey(s.AuthKey); err != nil {
		return sa, fmt.Errorf("authentication: %w", err)
	}
	sa.Transform = u.Transform(s.EncKey)
	sa.Life, err = parseLife(s.Life)
	return sa, err
}

// suite reads the transform that goes with the protocol.
func (s Spec) suite() (Suite, error) {
	var want ipsec.Proto
	switch {
	case s.ESP != "":
		want = ipsec.ESP
	case s.AH != "":
		want = ipsec.AH
	case s.Comp != "":
		want = ipsec.Comp
	default:
		want = ipsec.Tun
	}
	if s.ID.Proto != want {
		return Suite{}, fmt.Errorf("%s: the transform is one of %s", s.ID, want)
	}
	switch want {
	case ipsec.ESP:
		u, err := ParseESP(s.ESP)
		if err == nil && u.Encr.NewBlock == nil && u.Integ == nil {
			err = errors.New("neither encryption nor authentication: that protects nothing")
		}
		return u, err
	case ipsec.AH:
		return ParseAH(s.AH)
	case ipsec.Comp:
		if s.Comp != "deflate" {
			return Suite{}, fmt.Errorf("unknown compression %q, there is deflate", s.Comp)
		}
	}
	return Suite{}, nil
}

// parseLife reads soft- and hard-ITEM=N (freeswan.md 4.9, P5). Of FreeS/WAN's
// items, allocations counted references in its own tables, and idle times were
// not kept by anything; both are refused rather than ignored.
func parseLife(text string) (ipsec.Lifetime, error) {
	var l ipsec.Lifetime
	if text == "" {
		return l, nil
	}
	for _, word := range strings.Split(text, ",") {
		item, number, _ := strings.Cut(word, "=")
		n, err := strconv.ParseUint(number, 10, 63)
		if err != nil {
			return l, fmt.Errorf("life %q is not ITEM=NUMBER", word)
		}
		switch item {
		case "soft-bytes":
			l.SoftBytes = n
		case "hard-bytes":
			l.HardBytes = n
		case "soft-packets":
			l.SoftPackets = n
		case "hard-packets":
			l.HardPackets = n
		case "hard-addtime":
			if n > uint64(maxLife/time.Second) {
				return l, fmt.Errorf("life %q is longer than %v", word, maxLife)
			}
			l.HardTime = time.Duration(n) * time.Second
		default:
			return l, fmt.Errorf("life %q: there are soft-bytes, hard-bytes, soft-packets, hard-packets and hard-addtime", word)
		}
	}
	return l, nil
}

// maxLife is the longest life of any SA that has one (freeswan.md 8.2).
const maxLife = 24 * time.Hour
