package esp

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"cygnet/internal/ipsec"
)

// kernelSuite is one suite of testdata/kernel-*.txt: both directions, with the
// packets that Linux sent.
type kernelSuite struct {
	name string
	sas  []kernelSA
}

type kernelSA struct {
	sa    ipsec.SA
	ahKey []byte // bundles: HMAC-SHA1 of the AH around the ESP
	pkts  [][]byte
}

func readKernel(t testing.TB, file string) []kernelSuite {
	t.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var suites []kernelSuite
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<16)
	for lines.Scan() {
		kind, rest, _ := strings.Cut(lines.Text(), " ")
		switch kind {
		case "suite":
			suites = append(suites, kernelSuite{name: rest})
		case "sa":
			s := &suites[len(suites)-1]
			s.sas = append(s.sas, parseKernelSA(t, rest))
		case "pkt":
			s := &suites[len(suites)-1]
			sa := &s.sas[len(s.sas)-1]
			sa.pkts = append(sa.pkts, unhex(t, rest))
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	for _, s := range suites {
		if len(s.sas) != 2 || len(s.sas[0].pkts) != 6 || len(s.sas[1].pkts) != 6 {
			t.Fatalf("%s: %s has not 2 SAs of 6 packets", file, s.name)
		}
	}
	return suites
}

func parseKernelSA(t testing.TB, line string) kernelSA {
	var k kernelSA
	var src, dst, key, mac string
	var esn int
	tr := &k.sa.Transform
	n, err := fmt.Sscanf(line, "%s %s 0x%x encr=%d bits=%d integ=%d esn=%d key=%s mac=%s",
		&src, &dst, &k.sa.ID.SPI, &tr.Encr, &tr.KeyBits, &tr.Integ, &esn, &key, &mac)
	if err != nil {
		t.Fatalf("%q: %d fields, %v", line, n, err)
	}
	k.sa.Src, k.sa.ID.Dst = netip.MustParseAddr(src), netip.MustParseAddr(dst)
	k.sa.ID.Proto = ipsec.ESP
	k.sa.Dir, k.sa.Replay = ipsec.In, 64
	tr.ESN = esn == 1
	k.sa.EncrKey = ipsec.NewSecret(unhex(t, key))
	k.sa.IntegKey = ipsec.NewSecret(unhex(t, mac))
	if _, h, ok := strings.Cut(line, "ahmac="); ok {
		k.ahKey = unhex(t, h)
	}
	return k
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	if s == "-" {
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return b
}

// readBlocks reads testdata/rfc.txt: blocks of "name = value" lines.
func readBlocks(t testing.TB) map[string]map[string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/rfc.txt")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]map[string]string{}
	var block map[string]string
	for line := range bytes.Lines(data) {
		s := strings.TrimSpace(string(line))
		if name, ok := strings.CutPrefix(s, "[vector "); ok {
			block = map[string]string{}
			blocks[strings.TrimSuffix(name, "]")] = block
		} else if k, v, ok := strings.Cut(s, " = "); ok && s[0] != '#' {
			block[k] = v
		}
	}
	return blocks
}
