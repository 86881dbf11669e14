package klips

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// scapySA is one SA as testdata/decode.py takes it.
type scapySA struct {
	Proto    string `json:"proto"`
	SPI      uint32 `json:"spi"`
	Crypt    string `json:"crypt"`
	CryptKey string `json:"crypt_key"`
	Auth     string `json:"auth"`
	AuthKey  string `json:"auth_key"`
	Tunnel   bool   `json:"tunnel"`
}

type scapyJob struct {
	Packet string    `json:"packet"`
	SAs    []scapySA `json:"sas"`
}

// Names that scapy gives algorithms, by their numbers.
var (
	scapyCrypt = map[uint16]string{3: "3DES", 11: "NULL", 12: "AES-CBC", 20: "AES-GCM", 28: "CHACHA20-POLY1305"}
	scapyAuth  = map[uint16]string{1: "HMAC-MD5-96", 2: "HMAC-SHA1-96", 12: "SHA2-256-128", 13: "SHA2-384-192", 14: "SHA2-512-256"}
)

// TestScapy: what leaves us is what the RFCs say, by the judgement of a decoder
// that knows nothing but the keys.
func TestScapy(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import scapy.layers.ipsec").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs the Debian package python3-scapy")
		}
		t.Skip("needs the Debian package python3-scapy")
	}
	var jobs bytes.Buffer
	var names []string
	var want [][]byte
	lines := json.NewEncoder(&jobs)
	all := scapyStacks()
	for _, name := range sorted(all) {
		s := all[name]
		for _, p := range s.traffic() {
			names, want = append(names, fmt.Sprintf("%s, %d octets", name, len(p))), append(want, p)
			if err := lines.Encode(s.job(s.wire(t, p))); err != nil {
				t.Fatal(err)
			}
		}
		if name == "tun-tunnel" {
			continue // protects nothing
		}
		// And of what was changed on the way scapy must say so.
		w := s.wire(t, s.traffic()[2])
		w[len(w)-1] ^= 1
		names, want = append(names, name+", changed"), append(want, nil)
		if err := lines.Encode(s.job(w)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(python, "testdata/decode.py")
	cmd.Stdin = &jobs
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(strings.ReplaceAll(string(out), " ", "_"))
	if len(got) != len(want) {
		t.Fatalf("%d answers to %d questions", len(got), len(want))
	}
	for i := range want {
		if want[i] == nil {
			if !strings.Contains(got[i], "Integrity") && !strings.Contains(got[i], "InvalidTag") {
				t.Errorf("%s: scapy says %s", names[i], got[i])
			}
			continue
		}
		if got[i] != hex.EncodeToString(want[i]) {
			t.Errorf("%s: scapy says %s, want %x", names[i], got[i], want[i])
		}
	}
}

func scapyStacks() map[string]stack {
	out := map[string]stack{}
	for name, parts := range map[string][]part{
		"3des-md5":        {part3DES},
		"null-sha1":       {partNull},
		"aes-sha256":      {partAES},
		"aes_gcm":         {partGCM},
		"chacha20":        {{proto: ipsec.ESP, transform: ipsec.Transform{Encr: 28}, key: 36}},
		"ah-md5":          {partAHMD5},
		"ah-sha1":         {partAHSHA},
		"esp-ah":          {partNoMAC, partAHSHA},
		"tun":             {partTun},
		"tun-comp-esp-ah": {partTun, partComp, part3DES, partAHMD5},
		"tun-ah":          {partTun, partAHSHA},
	} {
		for _, mode := range []ipsec.Mode{ipsec.Tunnel, ipsec.Transport} {
			s := stack{setup{outer: outer4, inner: nets(inner4, 24), mode: mode}, parts, true}
			if mode == ipsec.Transport {
				if parts[0].proto == ipsec.Tun {
					continue
				}
				s.inner = nets(outer4, 32)
			}
			out[name+"-"+mode.String()] = s
		}
	}
	return out
}

// traffic is one packet of each kind that matters.
func (s stack) traffic() (list [][]byte) {
	a, b := s.ends()
	for _, n := range []int{0, 1, 57, 1200} {
		list = append(list, withID(udp(a, b, n)), withID(noisy(udp(a, b, n))))
	}
	return list
}

// withID gives a packet a number: one that has none gets one on its way.
func withID(p []byte) []byte {
	p[4], p[5] = 0x12, 0x34
	sumIPv4(p, ipv4HeaderLen)
	return p
}

// wire sends p through the stack and returns what is on the wire. Where the
// socket makes the header, it is like the kernel's.
func (s stack) wire(t *testing.T, p []byte) []byte {
	t.Helper()
	g := newLab(t, Options{})
	s.connect(t, g)
	seen := make(chan underlay.Arrival, 1)
	g[1].wire.Intercept(func(a underlay.Arrival) []underlay.Arrival { seen <- a; return nil })
	g[0].send(t, tun.Header{}, p)
	a := <-seen
	if a.Head > 0 {
		return a.Data
	}
	return withID(ipHeader(a.Remote.Addr(), a.Local, uint8(a.Proto), a.Data))
}

func (s stack) job(packet []byte) scapyJob {
	j := scapyJob{Packet: hex.EncodeToString(packet)}
	sas := s.sas(0, 0)
	for i := len(sas) - 1; i >= 0; i-- {
		sa := sas[i]
		x := scapySA{Proto: sa.ID.Proto.String(), SPI: uint32(sa.ID.SPI), Tunnel: i == 0 && s.mode == ipsec.Tunnel,
			CryptKey: hex.EncodeToString(sa.EncrKey.Bytes()), AuthKey: hex.EncodeToString(sa.IntegKey.Bytes())}
		x.Crypt, x.Auth = scapyCrypt[sa.Transform.Encr], scapyAuth[sa.Transform.Integ]
		if i == 1 && (sas[0].ID.Proto == ipsec.Tun) && sa.ID.Proto != ipsec.Comp {
			x.Tunnel = true // scapy takes both off at once
			j.SAs = append(j.SAs, x)
			break
		}
		j.SAs = append(j.SAs, x)
	}
	return j
}
