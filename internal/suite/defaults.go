package suite

// What we offer when ipsec.conf names nothing, preferred first. Mechanism is
// elsewhere; this file is policy, with its reasons:
//
//   - AEADs come first: one pass, no way to get the order of encryption and
//     authentication wrong, and AES-GCM is what hardware is fast at.
//     ChaCha20-Poly1305 follows for peers without AES instructions.
//   - AES-CBC with HMAC-SHA2 is what every peer of the last fifteen years has
//     (RFC 8247, RFC 8221: MUST). It is a proposal of its own, because AEADs
//     and other ciphers must not share one (RFC 5282, 8).
//   - 256 bits before 128: the cost is small and the margin lasts.
//   - X25519 first: fast, no special cases. The NIST curves next, for peers
//     that must use them. MODP last, for peers that have nothing else; 3072
//     before 2048, because it matches AES-128, before 4096, which is slow.
//   - Nothing that is marked obsolete, ever.
var (
	defaultAEAD = []EncrChoice{
		{&aesGCM16, 256}, {&aesGCM16, 128}, {&chacha20Poly1305, 256},
	}
	defaultCBC   = []EncrChoice{{&aesCBC, 256}, {&aesCBC, 128}}
	defaultPRF   = []*PRF{&prfHMACSHA256, &prfHMACSHA384, &prfHMACSHA512}
	defaultInteg = []*Integ{&hmacSHA256, &hmacSHA384, &hmacSHA512}
	defaultKE    = []*KE{&x25519, &ecp256, &ecp384, &ecp521, &modp3072, &modp2048, &modp4096}

	// Extended sequence numbers first: at 10 Gbit/s the short ones last an
	// hour or so. A caller whose data plane has no replay window offers
	// false alone (RFC 4303, 3.3.3 ties the two together).
	defaultESN = []bool{true, false}
)

// DefaultIKE is what an IKE SA is offered with.
func DefaultIKE() []Proposal {
	return []Proposal{
		{Protocol: ProtoIKE, Encr: clone(defaultAEAD), PRF: clone(defaultPRF), KE: clone(defaultKE)},
		{Protocol: ProtoIKE, Encr: clone(defaultCBC), PRF: clone(defaultPRF), Integ: clone(defaultInteg), KE: clone(defaultKE)},
	}
}

// DefaultESP is what a Child SA is offered with. With pfs the groups of
// DefaultIKE are in it, for CREATE_CHILD_SA.
func DefaultESP(pfs bool) []Proposal {
	var groups []*KE
	if pfs {
		groups = defaultKE
	}
	return []Proposal{
		{Protocol: ProtoESP, Encr: clone(defaultAEAD), KE: clone(groups), ESN: clone(defaultESN)},
		{Protocol: ProtoESP, Encr: clone(defaultCBC), Integ: clone(defaultInteg), KE: clone(groups), ESN: clone(defaultESN)},
	}
}

// DefaultAH is the same for AH.
func DefaultAH(pfs bool) []Proposal {
	var groups []*KE
	if pfs {
		groups = defaultKE
	}
	return []Proposal{{Protocol: ProtoAH, Integ: clone(defaultInteg), KE: clone(groups), ESN: clone(defaultESN)}}
}

// clone keeps the tables out of callers' hands.
func clone[T any](list []T) []T { return append([]T(nil), list...) }

// FreeSWANIKE is what FreeS/WAN offered, for legacy=freeswan: 3DES with either
// hash on group 5. Group 2 was its last resort and must be written out.
func FreeSWANIKE() []Proposal {
	var out []Proposal
	for _, f := range []*PRF{&prfHMACMD5, &prfHMACSHA1} {
		out = append(out, Proposal{
			Protocol: ProtoIKE,
			Encr:     []EncrChoice{{&des3CBC, 192}},
			PRF:      []*PRF{f},
			Integ:    []*Integ{IntegByName(f.Conf[0])},
			KE:       []*KE{&modp1536},
		})
	}
	return out
}

// FreeSWANESP is the same for ESP.
func FreeSWANESP(pfs bool) []Proposal {
	p := Proposal{
		Protocol: ProtoESP,
		Encr:     []EncrChoice{{&des3CBC, 192}},
		Integ:    []*Integ{&hmacMD5, &hmacSHA1},
		ESN:      []bool{false},
	}
	if pfs {
		p.KE = []*KE{&modp1536}
	}
	return []Proposal{p}
}

// FreeSWANAH is the same for AH.
func FreeSWANAH(pfs bool) []Proposal {
	p := Proposal{Protocol: ProtoAH, Integ: []*Integ{&hmacMD5, &hmacSHA1}, ESN: []bool{false}}
	if pfs {
		p.KE = []*KE{&modp1536}
	}
	return []Proposal{p}
}
