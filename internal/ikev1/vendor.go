package ikev1

import (
	"encoding/hex"

	"cygnet/internal/ikev1/wire"
)

// vendorIDs are those that change what we do. NAT traversal hashes the name of
// its document by MD5 (RFC 3947 section 3.1); the second draft hashed a line feed
// with it. They stand here as they are sent: a program that begins by computing
// MD5 does not run where FIPS 140-3 forbids it, not even to say so. Dead peer
// detection wrote its octets down (RFC 3706 section 5.1).
var (
	vidNATT     = fromHex("4a131c81070358455c5728f20e95452f")
	vidDraft3   = fromHex("7d9419a65310ca6f2c179d9215529d56")
	vidDraft2LF = fromHex("90cb80913ebb696e086381b5ec427b1f")
	vidDraft2   = fromHex("cd60464335df21f87cfdb2fc68b6a448")
	vidDPD      = fromHex("afcad71368a1f1c96b8696fc77570100")
)

func fromHex(text string) string {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic("ikev1: " + err.Error())
	}
	return string(b)
}

// ourVendorIDs are in the first message, best first.
var ourVendorIDs = []string{vidNATT, vidDraft3, vidDraft2LF, vidDraft2, vidDPD}

// abilities is what both ends can do, by the vendor IDs exchanged.
type abilities struct{ nat, natDraft, dpd bool }

func abilitiesOf(vids []wire.VendorID) abilities {
	var a abilities
	for _, v := range vids {
		switch string(v.Data) {
		case vidNATT:
			a.nat = true
		case vidDraft3, vidDraft2LF, vidDraft2:
			a.natDraft = true
		case vidDPD:
			a.dpd = true
		}
	}
	if a.nat {
		a.natDraft = false // the RFC is better
	} else if a.natDraft {
		a.nat = true
	}
	return a
}

// echo are the vendor IDs of an answer: those the initiator sent as well, so
// that an answer is never longer than what it answers.
func echo(theirs []wire.VendorID) []wire.Payload {
	a := abilitiesOf(theirs)
	var out []wire.Payload
	if a.nat {
		for _, v := range ourVendorIDs[:4] {
			if hasVID(theirs, v) {
				out = append(out, wire.VendorID{Data: []byte(v)}) // the best in common
				break
			}
		}
	}
	if a.dpd {
		out = append(out, wire.VendorID{Data: []byte(vidDPD)})
	}
	return out
}

func hasVID(vids []wire.VendorID, id string) bool {
	for _, v := range vids {
		if string(v.Data) == id {
			return true
		}
	}
	return false
}
