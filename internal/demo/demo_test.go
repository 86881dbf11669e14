package demo

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cygnet/internal/lab/labtest"
	"cygnet/scenarios"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// Every scenario that `ipsec demo` can show comes out as its file says, with
// the real command.
func TestScenarios(t *testing.T) {
	all, err := Load(scenarios.Files)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 5 {
		t.Fatalf("only %d scenarios found", len(all))
	}
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			labtest.New(t, "probe") // skips or fails where no network can be built
			missing := s.Missing()
			labtest.Need(t, len(missing) == 0, strings.Join(missing, ", "))
			var story bytes.Buffer
			r := &Runner{Binary: labtest.Binary(t), Prefix: labtest.Prefix("kd"), Tell: &Story{Out: &story}}
			if _, err := r.Run(t.Context(), s); err != nil {
				t.Errorf("%v\n%s", err, story.String())
			}
		})
	}
}

// plain runs the steps of a scenario that needs no gateway, with /bin/false
// in the place of the ipsec command.
func plain(t *testing.T, steps string) (*Outcome, error) {
	t.Helper()
	labtest.New(t, "probe")
	s, err := Parse("plain", []byte("A test\n-- network --\nguests world\n-- west/ipsec.conf --\n\n-- steps --\n"+steps))
	if err != nil {
		t.Fatal(err)
	}
	r := &Runner{Binary: "/bin/false", Prefix: labtest.Prefix("kd"), Tell: &Story{Out: io.Discard}}
	return r.Run(t.Context(), s)
}

// A scenario fails when something crosses a wire in the clear, though every
// step of its own is content.
func TestClearTrafficFailsScenario(t *testing.T) {
	_, err := plain(t, "west: ping east\n")
	if err == nil || !strings.Contains(err.Error(), "clear packets at west") {
		t.Errorf("a readable ping between gateways: %v", err)
	}
	o, err := plain(t, "wire: may be clear\nwest: ping east\n")
	if err != nil {
		t.Errorf("with permission: %v", err)
	}
	if len(o.Wires) != 2 || o.Wires[0].Clear != 6 || o.Wires[1].Clear != 6 {
		t.Errorf("3 requests and 3 answers on two wires: %+v", o.Wires)
	}
}

// Each kind of step can fail, and says why.
func TestStepsFail(t *testing.T) {
	for _, tt := range []struct{ steps, want string }{
		{"sunset: ping sunrise", "0 of 3 answered"},
		{"sunset: no ping 192.168.100.1", "3 of 3 answered, but none should be"},
		{"west: route 192.168.200.0/24 by ipsec0", "no such route"},
		{"west: no route 0.0.0.0/0", "leaves by eth0"},
		{"west: route 0.0.0.0/0 by ipsec0", "leaves by eth0"},
		{"west: ipsec eroute", "exit code 1, expected 0"},
		{"west: ipsec eroute\n\texit 1\n\t> something", "expected but not printed: something"},
		{"wire: only IKE and ESP", "nothing crossed"},
		{"west: ping world\nwire: only IKE and ESP", "other packets crossed"},
		{"west: ping world\nwire: nothing clear", "clear packets"},
		{"wire: at west only TCP", "CLEAR 0"},
		{"west: ping world\nwire: at west only TCP", "CLEAR 6"},
		{"west: kill pluto", "no daemon"},
		{"sunset: send 1 MB to sunrise", "connect"},
		{"sunset: keep pinging sunrise\nsunset: wait 0.2\nsunset: stop pinging sunrise, at most 2 lost", "0 of"},
		{"west: dance", "not understood"},
		{"west: sh echo a b; exit 3", "exit code 3, expected 0"},
		{"west: sh echo a b\n\t> c", "expected but not printed: c"},
		{"west: sh echo a b\n\twithin 0.3\n\t! a b", "printed, but must not be: a b"},
		{"west,moon: sh true", "no host \"moon\""},
		{"sunset: ping 192.168.100.{1..3}", "2 of 3 not answered: 192.168.100.2 from"},
		{"sunset: ping 192.168.100.{3..1}", "a range is"},
		{"moon: ping west", "no host"},
		{"sunset: ping moon", "neither a host nor an address"},
	} {
		if _, err := plain(t, tt.steps+"\n"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.steps, err, tt.want)
		}
	}
}

func TestStepsPass(t *testing.T) {
	o, err := plain(t, `# What works without any tunnel.
sunset: ping west
sunset: ping 192.168.100.1 from 192.168.100.10
sunset: send 2 MB to sunset
west: route 0.0.0.0/0 by eth0
west: no route 192.168.200.0/24
west,sunset: sh echo "two  words" in $HOME
	> two words in ...
west: sh echo x >>$IPSEC_CONFS/lines; grep -c x $IPSEC_CONFS/lines
	within 5
	> 3
west: sh command -v ipsec
	> .../west/bin/ipsec
sunset,west: ping 192.168.100.{10..10}
sunset: keep pinging 192.168.100.1
sunset: wait 0.2
sunset: stop pinging 192.168.100.1, none lost
wire: no ESP
wire: nothing clear
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Timeline) != 16 || len(o.Transfers) != 1 || o.Transfers[0].Bytes != 2e6 {
		t.Errorf("outcome: %+v", o)
	}
}

func TestParse(t *testing.T) {
	s, err := Parse("x", []byte(`Title

More words.
-- network --
guests road
sunset address 192.168.101.1/24 on eth0
sunset route 10.0.0.0/8 via 192.168.100.1
east hides 192.168.100.0/24
-- prepare --
$KEY = west: ipsec ranbits 128
-- west,east/ipsec.secrets --
: PSK "$KEY"
-- steps --
# Start.
west: ipsec auto --up  x
	> 004 "x" #...: established
	! 010 ...
	exit 3
`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Title != "Title" || !strings.HasSuffix(s.Doc, "More words.") {
		t.Errorf("title %q, doc %q", s.Title, s.Doc)
	}
	if diff := cmp.Diff([]string{"west", "east"}, s.gateways()); diff != "" {
		t.Error(diff)
	}
	if len(s.addrs) != 1 || len(s.nats) != 1 || len(s.routes) != 1 || s.routes[0].via.String() != "192.168.100.1" || s.prepare[0].keep != "KEY" || s.prepare[0].text() != "ipsec ranbits 128" {
		t.Errorf("parsed: %+v", s)
	}
	up := s.steps[1]
	if s.steps[0].caption != "Start." || up.exit != 3 || len(up.want) != 1 || len(up.absent) != 1 {
		t.Errorf("steps: %+v", s.steps)
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "no description"},
		{"T\n", "no steps"},
		{"T\n-- steps --\n", "no steps"},
		{"T\n-- steps --\nwest ping east\n", "line 1: \"west ping east\" does not begin with HOST"},
		{"T\n-- steps --\n\t> x\n", "line 1: expectation without a step"},
		{"T\n-- steps --\n# c\n\t> x\n", "line 2: expectation without a step"},
		{"T\n-- steps --\nwest: a\n\t? x\n", "line 2: \"? x\" is none of"},
		{"T\n-- steps --\nwest: a\n\texit x\n", "invalid syntax"},
		{"T\n-- steps --\nwest: a\n\twithin x\n", "invalid syntax"},
		{"T\n-- steps --\nwest: \n", "does not begin with HOST"},
		{"T\n-- network --\nwest address 10.0.{1..}.1/24 on eth1\n", "a range is"},
		{"T\n-- network --\nnorth pole\n", "section \"network\": line 1: not understood"},
		{"T\n-- network --\neast hides x\n", "line 1"},
		{"T\n-- network --\neast route 1.2.3.0/24 via x\n", "line 1"},
		{"T\n-- prepare --\n$X west: y\n", "' = '"},
		{"T\n-- surprise --\n", "neither network"},
	} {
		if _, err := Parse("x", []byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestExpand(t *testing.T) {
	for _, tt := range []struct {
		word string
		want string // words joined
	}{
		{"10.0.0.1", "10.0.0.1"},
		{"10.0.0.{7..9}", "10.0.0.7 10.0.0.8 10.0.0.9"},
		{"10.{1..2}.0.{0..1}/24", "10.1.0.0/24 10.1.0.1/24 10.2.0.0/24 10.2.0.1/24"},
		{"a{1..1}b", "a1b"},
		{"{1..x}", ""}, {"{1}", ""}, {"{1..2", ""}, {"{2..1}", ""}, {"{1..9999999}", ""},
	} {
		got, err := expand(tt.word)
		if strings.Join(got, " ") != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%s: %v, %v", tt.word, got, err)
		}
	}
}

// A scenario whose programs this machine lacks is passed over, and says so.
func TestMissingProgram(t *testing.T) {
	s, err := Parse("x", []byte("T\n-- network --\nneeds sh no-such-program\n-- steps --\nwest: dance\n"))
	if err != nil {
		t.Fatal(err)
	}
	var story bytes.Buffer
	r := &Runner{Binary: "/bin/false", Prefix: labtest.Prefix("kd"), Tell: &Story{Out: &story}}
	o, err := r.Run(t.Context(), s)
	if err != nil || !o.OK || o.Skipped != "this machine has no no-such-program" || !strings.Contains(story.String(), "x: skipped") {
		t.Errorf("%v: %+v\n%s", err, o, story.String())
	}
}

func TestPattern(t *testing.T) {
	const output = "000 \"a\" #7:   STATE_X (established)\n8   10.0.0.0/8  ->  0.0.0.0/0 => %trap\n"
	for _, tt := range []struct {
		pattern string
		want    bool
	}{
		{`000 "a" #...: STATE_X (established)`, true},
		{`000 "a" #...: STATE_X`, false}, // whole lines
		{`... 10.0.0.0/8 -> 0.0.0.0/0 => %trap`, true},
		{`10.0.0.0/8 -> 0.0.0.0/0 => %trap`, false},
		{`... 10x0x0x0/8 ...`, false},
		{`...`, true},
	} {
		if got := newPattern(tt.pattern).in(output); got != tt.want {
			t.Errorf("%s: %v", tt.pattern, got)
		}
	}
}

// What a step keeps in a variable may be secret: no output of it is told.
func TestKeptOutputIsNotShown(t *testing.T) {
	labtest.New(t, "probe")
	s, err := Parse("x", []byte("T\n-- prepare --\n$S = west: ipsec secret-word\n-- west/f --\n$S and $LOG\n-- steps --\nwest: no route 1.2.3.0/24\n"))
	if err != nil {
		t.Fatal(err)
	}
	var story bytes.Buffer
	r := &Runner{Binary: "/bin/echo", Prefix: labtest.Prefix("kd"), Tell: &teller{Story{Out: &story}, t}}
	o, err := r.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if o.Timeline[0].Output != "" {
		t.Errorf("output kept in the outcome: %q", o.Timeline[0].Output)
	}
}

// teller checks what a file became.
type teller struct {
	Story
	t *testing.T
}

func (x *teller) File(host, name, text string) {
	if host != "west" || name != "f" || !strings.HasPrefix(text, "secret-word and /") {
		x.t.Errorf("file %s of %s: %q", name, host, text)
	}
	if _, err := os.Stat(strings.TrimSpace(strings.TrimPrefix(text, "secret-word and "))); !os.IsNotExist(err) {
		x.t.Errorf("log: %v", err)
	}
}
