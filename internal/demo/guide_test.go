package demo

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"cygnet/internal/lab/labtest"
)

// R4.9: the five stages of the guide work as they are written there: its
// configuration, with keys where it has dots, and its commands in their order.
func TestGuideStages(t *testing.T) {
	labtest.New(t, "probe")
	b, err := os.ReadFile("../../docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	text := "Stages\n-- prepare --\n$SECRET = west: ipsec ranbits 256\n$ENC = west: ipsec ranbits 128\n$AUTH = west: ipsec ranbits 256\n" +
		"-- west,east/ipsec.conf --\n" + strings.NewReplacer("espenckey=0x...", "espenckey=$ENC", "espauthkey=0x...", "espauthkey=$AUTH").Replace(block(t, b, "version 2.0")) +
		"-- west,east/ipsec.secrets --\n101.101.101.101 202.202.202.202 : PSK \"$SECRET\"\n" +
		"-- steps --\nwire: at west may be clear\nwire: at east may be clear\n" + stages(t, string(b))
	s, err := Parse("stages", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var story bytes.Buffer
	r := &Runner{Binary: labtest.Binary(t), Prefix: labtest.Prefix("gd"), Tell: &Story{Out: &story}}
	if _, err := r.Run(t.Context(), s); err != nil {
		t.Errorf("%v\n%s\n%s", err, text, story.String())
	}
}

var (
	stageStart  = regexp.MustCompile(`(?m)^([1-5])\. \*\*`)
	stagePrompt = regexp.MustCompile(`^       (west|east|sunset|sunrise)# (.+)$`)
)

// stages makes steps of the commands of each stage, and does beside them what
// the guide says in words.
func stages(t *testing.T, guide string) string {
	t.Helper()
	at := stageStart.FindAllStringIndex(guide, -1)
	if len(at) != 5 {
		t.Fatalf("the guide has %d stages, not 5", len(at))
	}
	before := []string{
		"", "wire: no ESP\n", "",
		"west,east: sh sed -i '/authby=secret/a compress=yes' $IPSEC_CONFS/ipsec.conf; sed -i 's/^compress/\\tcompress/' $IPSEC_CONFS/ipsec.conf\n",
		"sunset: send 4 MB to sunrise\nsunrise: send 4 MB to sunset\n",
	}
	var out strings.Builder
	for i := range at {
		end := strings.Index(guide, "## Tunnels are cheap")
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		out.WriteString(before[i])
		n := 0
		for line := range strings.Lines(guide[at[i][0]:end]) {
			if m := stagePrompt.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
				out.WriteString(m[1] + ": " + m[2] + "\n")
				n++
			}
		}
		if n == 0 {
			t.Errorf("stage %d has no command", i+1)
		}
		if i == 1 {
			out.WriteString("wire: no IKE\n")
		}
	}
	return out.String()
}
