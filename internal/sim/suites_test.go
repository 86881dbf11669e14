package sim

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"cygnet/internal/connection"
	"cygnet/internal/esp"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Every name of an algorithm that ike=, esp= and ah= take goes through a handshake
// and a packet, with each end as initiator: no name leads to an algorithm without
// a key.
func TestAdv_CRY_02_EveryName(t *testing.T) {
	for _, line := range everyName() {
		for _, westBegins := range []bool{true, false} {
			w, tunnel := pairOf(2, func(_ *Node, d *connection.Description) {
				d.IKE, d.ESP = mustParse(suite.ParseIKE(line.ike)), mustParse(suite.ParseESP(line.esp))
				if line.ah != "" {
					d.ESP = mustParse(suite.ParseAH(line.ah))
				}
			})
			begin := tunnel.A
			if !westBegins {
				begin = tunnel.B
			}
			begin.Up(tunnel.Name)
			if !w.RunUntil(10*time.Second, tunnel.Secured) {
				report(t, w, 2, "ike=%s esp=%s ah=%s: not up", line.ike, line.esp, line.ah)
				continue
			}
			w.Run(time.Second)
			for _, ends := range [][2]*Node{{tunnel.A, tunnel.B}, {tunnel.B, tunnel.A}} {
				if err := onePacket(ends[0], ends[1]); err != nil {
					t.Errorf("ike=%s esp=%s ah=%s, %s to %s: %v", line.ike, line.esp, line.ah, ends[0].Name, ends[1].Name, err)
				}
			}
			fine(t, w, 2)
		}
	}
}

type names struct{ ike, esp, ah string }

func everyName() (out []names) {
	const ike, child = "aes128gcm16-prfsha256-x25519", "aes128gcm16"
	for _, e := range suite.Encrs() {
		for _, name := range e.Conf {
			for _, cipher := range sized(name, e) {
				hash := "-sha2_256"
				if e.AEAD {
					hash = ""
				}
				i := cipher + "-sha2_256-x25519"
				if e.NewAEAD == nil && e.NewBlock == nil {
					i = ike // NULL is for ESP only
				}
				out = append(out, names{i, cipher + hash, ""})
			}
		}
	}
	for _, i := range suite.Integs() {
		for _, name := range i.Conf {
			out = append(out, names{"aes128-" + name + "-x25519", "aes128-" + name, ""}, names{ike, child, name})
		}
	}
	for _, p := range suite.PRFs() {
		for _, name := range p.Conf {
			out = append(out, names{"aes128gcm16-" + name + "-x25519", child, ""})
		}
	}
	for _, k := range suite.KEs() {
		for _, name := range k.Conf {
			if k.Public != k.Answer { // a KEM comes after a classical exchange
				out = append(out, names{ike + "-ke1_" + name, child, ""})
				continue
			}
			out = append(out, names{"aes128gcm16-prfsha256-" + name, child, ""})
		}
	}
	return out
}

// sized are the ways to write a cipher's name: alone, and with each key size, such
// as aes256, aes_gcm256 and aes256gcm16.
func sized(name string, e *suite.Encr) []string {
	list := []string{name}
	tag, isTag := strings.CutPrefix(name, "aesgcm")
	for _, bits := range e.KeyBits {
		switch {
		case e.Fixed:
		case isTag && tag != "":
			list = append(list, fmt.Sprintf("aes%dgcm%s", bits, tag))
		case !unicode.IsDigit(rune(name[len(name)-1])):
			list = append(list, fmt.Sprintf("%s%d", name, bits), fmt.Sprintf("%s-%d", name, bits))
		}
	}
	return list
}

// onePacket protects a packet with the SA that from sends on, and opens it with
// the one that to has for it.
func onePacket(from, to *Node) error {
	payload := []byte("the quick brown fox jumps over the lazy dog")
	for _, out := range from.Plane.sorted() {
		for _, in := range to.Plane.sorted() {
			if out.Dir != ipsec.Out || in.Dir != ipsec.In || in.ID != out.ID {
				continue
			}
			if out.EncrKey.Len()+out.IntegKey.Len() == 0 {
				return fmt.Errorf("%s has no key", out.ID)
			}
			if out.ID.Proto == ipsec.AH {
				return oneAH(out.SA, in.SA, payload)
			}
			return oneESP(out.SA, in.SA, payload)
		}
	}
	return fmt.Errorf("no SA")
}

func oneESP(sa, other ipsec.SA, payload []byte) error {
	out, err := esp.NewOut(sa, bytes.NewReader(make([]byte, 64)))
	if err != nil {
		return err
	}
	in, err := esp.NewIn(other)
	if err != nil {
		return err
	}
	seq, err := out.Reserve(1)
	if err != nil {
		return err
	}
	var s esp.Scratch
	pkt := out.Seal(&s, make([]byte, out.SealedLen(len(payload))), seq, 4, payload, 0)
	if null := sa.Transform.Encr == 11; bytes.Contains(pkt, payload) != null {
		return fmt.Errorf("the payload shows: %v", !null)
	}
	got, ok := in.Sequence(pkt)
	if !ok {
		return fmt.Errorf("sequence number %d refused", seq)
	}
	plain, next, err := in.Open(&s, pkt, got)
	if err != nil || next != 4 || !bytes.Equal(plain, payload) {
		return fmt.Errorf("opened %q, %d, %v", plain, next, err)
	}
	return nil
}

func oneAH(sa, other ipsec.SA, payload []byte) error {
	out, err := esp.NewAHOut(sa)
	if err != nil {
		return err
	}
	in, err := esp.NewAHIn(other)
	if err != nil {
		return err
	}
	const at = 20
	pkt := make([]byte, at+out.HeadLen()+len(payload))
	pkt[0], pkt[3], pkt[8], pkt[9] = 0x45, byte(len(pkt)), 64, byte(ipsec.AH)
	copy(pkt[12:], sa.Src.AsSlice())
	copy(pkt[16:], sa.ID.Dst.AsSlice())
	copy(pkt[at+out.HeadLen():], payload)
	seq, err := out.Reserve(1)
	if err != nil {
		return err
	}
	var s esp.Scratch
	if err := out.Seal(&s, pkt, at, seq, 4); err != nil {
		return err
	}
	got, ok := in.Sequence(pkt[at:])
	if !ok {
		return fmt.Errorf("sequence number %d refused", seq)
	}
	pkt[len(pkt)-1] ^= 1
	if _, _, err := in.Open(&s, bytes.Clone(pkt), at, got); err == nil {
		return fmt.Errorf("a changed packet was accepted")
	}
	pkt[len(pkt)-1] ^= 1
	if _, next, err := in.Open(&s, pkt, at, got); err != nil || next != 4 {
		return fmt.Errorf("opened: %d, %v", next, err)
	}
	return nil
}

// What ike= says of the additional key exchange is what is agreed on: demanded, it
// is used or there is no SA; wished for, it is used where the peer has it; not
// named, it is not used. Whoever begins.
func TestAdv_CFG_21_PostQuantum(t *testing.T) {
	const (
		base    = "aes128gcm16-sha2_256-x25519"
		require = base + "-ke1_mlkem768"
		prefer  = require + "," + base
	)
	for _, x := range []struct {
		west, east string
		up, pq     bool
	}{
		{require, require, true, true}, {require, prefer, true, true}, {require, base, false, false},
		{prefer, prefer, true, true}, {prefer, base, true, false}, {base, base, true, false},
	} {
		for _, westBegins := range []bool{true, false} {
			w, tunnel := pairOf(21, func(n *Node, d *connection.Description) {
				d.KeyingTries = 1
				if d.IKE = mustParse(suite.ParseIKE(x.west)); n.Name == "east" {
					d.IKE = mustParse(suite.ParseIKE(x.east))
				}
			})
			begin := tunnel.A
			if !westBegins {
				begin = tunnel.B
			}
			begin.Up(tunnel.Name)
			up := w.RunUntil(time.Minute, tunnel.Secured)
			if up != x.up {
				report(t, w, 21, "%s against %s, west begins: %v: up is %v", x.west, x.east, westBegins, up)
				continue
			}
			history := w.Trace.String()
			if pq := strings.Contains(history, "/ML_KEM_768}"); pq != x.pq {
				t.Errorf("%s against %s, west begins: %v: ML-KEM is %v\n%s", x.west, x.east, westBegins, pq, history)
			}
			fine(t, w, 21)
		}
	}
}
