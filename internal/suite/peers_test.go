package suite

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// far is what another product proposes by IKEv2, as logs and documents have it.
// Lists stand in the notation of strongSwan's log: proposals apart by commas,
// transforms by slashes.
type far struct {
	name     string
	from     string // where it is recorded; "memory": by nobody here
	ike, esp string
	// With what of ours it comes to an agreement, as ike= and esp= have it; empty:
	// our defaults.
	ourIKE, ourESP string
	// What the agreement is, when it calls us.
	gotIKE, gotESP string
}

// Citations are those of peers.md: HW hwdsl2/setup-ipsec-vpn, LS libreswan, SS
// strongswan, jawj IKEv2-setup.
var farEnds = []far{
	{
		name: "Windows 10 and 11", from: "HW#670 (the 3DES and AES-256 rows), peers.md",
		ike: "3DES_CBC/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024, 3DES_CBC/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_1024, 3DES_CBC/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/MODP_1024," +
			"AES_CBC_256/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024, AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_1024, AES_CBC_256/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/MODP_1024",
		esp:    "AES_CBC_256/HMAC_SHA1_96/NO_EXT_SEQ, AES_CBC_128/HMAC_SHA1_96/NO_EXT_SEQ, 3DES_CBC/HMAC_SHA1_96/NO_EXT_SEQ, DES_CBC/HMAC_SHA1_96/NO_EXT_SEQ, NULL/HMAC_SHA1_96/NO_EXT_SEQ",
		ourIKE: "aes256-sha256-modp1024", ourESP: "aes256-sha1",
		gotIKE: "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_1024", gotESP: "AES_CBC_256/HMAC_SHA1_96/NO_EXT_SEQ",
	},
	{
		name: "Windows with NegotiateDH2048_AES256=2", from: "peers.md",
		ike:    "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048",
		esp:    "AES_CBC_256/HMAC_SHA1_96/NO_EXT_SEQ, AES_CBC_128/HMAC_SHA1_96/NO_EXT_SEQ, 3DES_CBC/HMAC_SHA1_96/NO_EXT_SEQ, DES_CBC/HMAC_SHA1_96/NO_EXT_SEQ, NULL/HMAC_SHA1_96/NO_EXT_SEQ",
		ourESP: "aes256-sha1",
		gotIKE: "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048", gotESP: "AES_CBC_256/HMAC_SHA1_96/NO_EXT_SEQ",
	},
	{
		name: "macOS 14", from: "LS#1450",
		ike: "AES_GCM_16_256/PRF_HMAC_SHA2_256/ECP_256, AES_GCM_16_256/PRF_HMAC_SHA2_256/MODP_2048," +
			"AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256, AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048",
		esp:    "AES_GCM_16_256/NO_EXT_SEQ, AES_CBC_256/HMAC_SHA2_256_128/NO_EXT_SEQ",
		gotIKE: "AES_GCM_16_256/PRF_HMAC_SHA2_256/ECP_256", gotESP: "AES_GCM_16_256/NO_EXT_SEQ",
	},
	{
		name: "iOS, set up by hand", from: "jawj#125, peers.md",
		ike:    "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048",
		esp:    "AES_CBC_256/HMAC_SHA2_256_128/NO_EXT_SEQ",
		gotIKE: "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048", gotESP: "AES_CBC_256/HMAC_SHA2_256_128/NO_EXT_SEQ",
	},
	{
		name: "iOS with a profile", from: "SS#2861",
		ike: "AES_GCM_16_256/PRF_HMAC_SHA2_256/ECP_256, AES_GCM_16_256/PRF_HMAC_SHA2_256/MODP_2048," +
			"AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256, AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048",
		esp:    "AES_GCM_16_256/NO_EXT_SEQ, AES_CBC_256/HMAC_SHA2_256_128/NO_EXT_SEQ",
		gotIKE: "AES_GCM_16_256/PRF_HMAC_SHA2_256/ECP_256", gotESP: "AES_GCM_16_256/NO_EXT_SEQ",
	},
	{
		name: "Android 12 and later", from: "memory",
		ike: "AES_CBC_256/AES_CBC_192/AES_CBC_128/HMAC_SHA2_512_256/HMAC_SHA2_384_192/HMAC_SHA2_256_128/AES_XCBC_96/PRF_HMAC_SHA2_512/PRF_HMAC_SHA2_384/PRF_HMAC_SHA2_256/PRF_AES128_XCBC/MODP_4096/CURVE_25519/MODP_3072/MODP_2048," +
			"CHACHA20_POLY1305/AES_GCM_16_256/AES_GCM_16_192/AES_GCM_16_128/PRF_HMAC_SHA2_512/PRF_HMAC_SHA2_384/PRF_HMAC_SHA2_256/PRF_AES128_XCBC/MODP_4096/CURVE_25519/MODP_3072/MODP_2048",
		esp:    "AES_GCM_16_256/AES_GCM_16_192/AES_GCM_16_128/NO_EXT_SEQ, AES_CBC_256/AES_CBC_192/AES_CBC_128/HMAC_SHA2_512_256/HMAC_SHA2_384_192/HMAC_SHA2_256_128/NO_EXT_SEQ",
		gotIKE: "AES_GCM_16_256/PRF_HMAC_SHA2_256/CURVE_25519", gotESP: "AES_GCM_16_256/NO_EXT_SEQ",
	},
	{
		name: "AWS site to site", from: "ModifyVpnTunnelOptionsSpecification",
		ike: "AES_CBC_128/AES_CBC_256/HMAC_SHA1_96/HMAC_SHA2_256_128/HMAC_SHA2_384_192/HMAC_SHA2_512_256/PRF_HMAC_SHA1/PRF_HMAC_SHA2_256/PRF_HMAC_SHA2_384/PRF_HMAC_SHA2_512/MODP_1024/MODP_2048/MODP_3072/MODP_4096/ECP_256/ECP_384/ECP_521," +
			"AES_GCM_16_128/AES_GCM_16_256/PRF_HMAC_SHA2_256/PRF_HMAC_SHA2_384/PRF_HMAC_SHA2_512/MODP_2048/MODP_3072/MODP_4096/ECP_256/ECP_384/ECP_521",
		esp:    "AES_CBC_128/AES_CBC_256/HMAC_SHA1_96/HMAC_SHA2_256_128/HMAC_SHA2_384_192/HMAC_SHA2_512_256/NO_EXT_SEQ, AES_GCM_16_128/AES_GCM_16_256/NO_EXT_SEQ",
		gotIKE: "AES_GCM_16_256/PRF_HMAC_SHA2_256/ECP_256", gotESP: "AES_GCM_16_256/NO_EXT_SEQ",
	},
	{
		name: "Azure VPN gateway without a custom policy", from: "vpn-gateway-about-vpn-devices.md (2016)",
		ike:    "AES_CBC_256/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024, AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_1024, 3DES_CBC/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024, 3DES_CBC/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_1024",
		esp:    "AES_CBC_256/HMAC_SHA1_96/NO_EXT_SEQ, AES_CBC_256/HMAC_SHA2_256_128/NO_EXT_SEQ, 3DES_CBC/HMAC_SHA1_96/NO_EXT_SEQ",
		ourIKE: "aes256-sha256-modp1024",
		gotIKE: "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_1024", gotESP: "AES_CBC_256/HMAC_SHA2_256_128/NO_EXT_SEQ",
	},
	{
		name: "MikroTik without changes", from: "peers.md (HW#676)",
		ike:    "AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_2048/MODP_1024",
		esp:    "AES_CBC_256/AES_CBC_192/AES_CBC_128/HMAC_SHA1_96/NO_EXT_SEQ",
		ourIKE: "aes128-sha1-modp2048", ourESP: "aes256-sha1",
		gotIKE: "AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_2048", gotESP: "AES_CBC_256/HMAC_SHA1_96/NO_EXT_SEQ",
	},
	{
		name: "FortiGate, aes256-sha256 and group 14", from: "qiita isss802 (with Google Cloud VPN)",
		ike:    "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048",
		esp:    "AES_CBC_256/HMAC_SHA1_96/NO_EXT_SEQ",
		ourESP: "aes256-sha1",
		gotIKE: "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048", gotESP: "AES_CBC_256/HMAC_SHA1_96/NO_EXT_SEQ",
	},
	{
		name: "a router seen by ike-scan", from: "royhills/ike-scan#34",
		ike:    "AES_CBC_256/AES_CBC_128/3DES_CBC/DES_CBC/PRF_HMAC_SHA2_512/PRF_HMAC_SHA2_256/PRF_HMAC_SHA1/PRF_HMAC_MD5/HMAC_SHA2_512_256/HMAC_SHA2_256_128/HMAC_SHA1_96/HMAC_MD5_96/MODP_1024/MODP_1536/MODP_2048/ECP_384/ECP_521",
		gotIKE: "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_384",
	},
}

// logNames are transforms by their names in strongSwan's log, RFC 7296 section
// 3.3.2 and the IANA registry; those we do not have among them.
var logNames = map[string]Transform{
	"DES_CBC": {TypeEncr, 2, 0}, "3DES_CBC": {TypeEncr, 3, 0}, "NULL": {TypeEncr, 11, 0}, "CHACHA20_POLY1305": {TypeEncr, 28, 0},
	"HMAC_MD5_96": {TypeInteg, 1, 0}, "HMAC_SHA1_96": {TypeInteg, 2, 0}, "AES_XCBC_96": {TypeInteg, 5, 0},
	"HMAC_SHA2_256_128": {TypeInteg, 12, 0}, "HMAC_SHA2_384_192": {TypeInteg, 13, 0}, "HMAC_SHA2_512_256": {TypeInteg, 14, 0},
	"PRF_HMAC_MD5": {TypePRF, 1, 0}, "PRF_HMAC_SHA1": {TypePRF, 2, 0}, "PRF_AES128_XCBC": {TypePRF, 4, 0},
	"PRF_HMAC_SHA2_256": {TypePRF, 5, 0}, "PRF_HMAC_SHA2_384": {TypePRF, 6, 0}, "PRF_HMAC_SHA2_512": {TypePRF, 7, 0},
	"MODP_1024": {TypeKE, 2, 0}, "MODP_1536": {TypeKE, 5, 0}, "MODP_2048": {TypeKE, 14, 0}, "MODP_3072": {TypeKE, 15, 0}, "MODP_4096": {TypeKE, 16, 0},
	"ECP_256": {TypeKE, 19, 0}, "ECP_384": {TypeKE, 20, 0}, "ECP_521": {TypeKE, 21, 0}, "CURVE_25519": {TypeKE, 31, 0},
	"NO_EXT_SEQ": {TypeESN, 0, 0}, "EXT_SEQ": {TypeESN, 1, 0},
}

func transformNamed(name string) (Transform, error) {
	if t, ok := logNames[name]; ok {
		return t, nil
	}
	for prefix, id := range map[string]uint16{"AES_CBC_": 12, "AES_GCM_16_": 20} {
		if size, ok := strings.CutPrefix(name, prefix); ok {
			bits, err := strconv.ParseUint(size, 10, 16)
			return Transform{TypeEncr, id, uint16(bits)}, err
		}
	}
	return Transform{}, fmt.Errorf("no transform %q", name)
}

func recorded(t *testing.T, protocol Protocol, text string) []Offer {
	t.Helper()
	var list []Offer
	for i, proposal := range strings.Split(text, ",") {
		o := Offer{Number: uint8(i + 1), Protocol: protocol}
		for _, name := range strings.Split(strings.TrimSpace(proposal), "/") {
			x, err := transformNamed(name)
			if err != nil {
				t.Fatal(err)
			}
			o.Transforms = append(o.Transforms, x)
		}
		list = append(list, o)
	}
	return list
}

// sameChoice compares what was chosen with a recorded line.
func sameChoice(t *testing.T, got Chosen, protocol Protocol, want string) bool {
	t.Helper()
	have := map[Transform]bool{}
	for _, x := range got.Offer(1, nil).Transforms {
		have[x] = true
	}
	all := recorded(t, protocol, want)[0].Transforms
	for _, x := range all {
		if !have[x] {
			return false
		}
	}
	return len(have) == len(all)
}

// What other products propose, and with which of our settings they and we come
// together: by default, or with the ike= and esp= that docs/guide.md names. With
// the defaults only, the others are refused, so that the settings are needed;
// and an offer of ours holds something that they take when we call.
func TestRecordedProposals(t *testing.T) {
	for _, f := range farEnds {
		for _, x := range []struct {
			protocol    Protocol
			theirs, our string
			parse       func(string) ([]Proposal, error)
			defaults    []Proposal
			want        string
		}{
			{ProtoIKE, f.ike, f.ourIKE, ParseIKE, DefaultIKEv2(), f.gotIKE},
			{ProtoESP, f.esp, f.ourESP, ParseESP, DefaultESP(false), f.gotESP},
		} {
			if x.theirs == "" {
				continue
			}
			theirs, ours := recorded(t, x.protocol, x.theirs), x.defaults
			if x.our != "" {
				if c, _, err := Select(ours, theirs); err == nil {
					t.Errorf("%s: our defaults do, with %s: %q is not needed", f.name, c, x.our)
				}
				var err error
				if ours, err = x.parse(x.our); err != nil {
					t.Fatalf("%s: %v", f.name, err)
				}
			}
			c, _, err := Select(ours, theirs)
			if err != nil || !sameChoice(t, c, x.protocol, x.want) {
				t.Errorf("%s: %s instead of %s, %v", f.name, c, x.want, err)
			}
			if !takes(theirs, ours) {
				t.Errorf("%s: takes nothing of what we offer with %q", f.name, x.our)
			}
		}
	}
}

// takes reports whether an offer of ours has, in every transform type of one of
// theirs, something in common with it: then a responder can choose. One that has
// never heard of RFC 9370 passes over a proposal with additional key exchanges.
func takes(theirs []Offer, ours []Proposal) bool {
	for _, p := range ours {
		o := p.Offer(1, nil)
		for _, q := range theirs {
			common, asked := map[TransformType]bool{}, map[TransformType]bool{}
			for _, x := range o.Transforms {
				asked[x.Type] = true
				for _, y := range q.Transforms {
					common[x.Type] = common[x.Type] || x == y
				}
			}
			all := true
			for kind := range asked {
				all = all && common[kind]
			}
			for _, y := range q.Transforms {
				all = all && (asked[y.Type] || y.Type == TypeESN)
			}
			if all {
				return true
			}
		}
	}
	return false
}
