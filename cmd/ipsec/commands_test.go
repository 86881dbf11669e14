package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"cygnet/internal/whack"
)

// listener stands in for a daemon: it agrees to everything, and remembers it.
type listener struct {
	mu   sync.Mutex
	seen []whack.Request
}

func listen(t *testing.T) *listener {
	t.Helper()
	gateway(t)
	l := &listener{}
	s := &whack.Server{Handle: func(_ context.Context, _ whack.Peer, r whack.Request, send func(whack.Reply) error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.seen = append(l.seen, r)
		_ = send(whack.Reply{Final: true})
	}}
	if err := s.Listen(where().socket()); err != nil {
		t.Fatal(err)
	}
	go s.Serve()
	t.Cleanup(func() { s.Close() })
	return l
}

// last is what was asked since the last call.
func (l *listener) last() []whack.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.seen
	l.seen = nil
	return seen
}

// R12.8: what is logged in detail can be changed by whack while the daemon runs.
func TestWhackDebug(t *testing.T) {
	l := listen(t)
	for flags, want := range map[string][]string{
		"--debug-none": nil, "--debug-all": {"all"}, "--debug-control --debug-dns": {"control", "dns"}, "--debug-x509": {"x509"},
	} {
		if r := runIpsec(t, append([]string{"whack"}, strings.Fields(flags)...)...); r.code != 0 {
			t.Errorf("%s: exit %d, %s", flags, r.code, r.err)
		}
		got := l.last()
		if len(got) != 1 || got[0].Op != whack.OpDebug || !slices.Equal(got[0].Args.Debug, want) {
			t.Errorf("%s: %+v", flags, got)
		}
	}
	if r := runIpsec(t, "whack", "--debug-frobnicate"); r.code != int(whack.ExitUsage) || len(l.last()) != 0 {
		t.Errorf("unknown class: exit %d, %s", r.code, r.err)
	}
}

func TestWhackOperations(t *testing.T) {
	l := listen(t)
	for flags, want := range map[string]whack.Request{
		"whack --myid @west.example.org": {Op: whack.OpMyID, Args: whack.Args{ID: "@west.example.org"}},
		"whack --rereadgroups":           {Op: whack.OpReadGroups},
		"whack --reload":                 {Op: whack.OpReload},
		"secrets":                        {Op: whack.OpReadSecrets},
	} {
		if r := runIpsec(t, strings.Fields(flags)...); r.code != 0 {
			t.Errorf("%s: exit %d, %s", flags, r.code, r.err)
		}
		if got := l.last(); len(got) != 1 || got[0].Op != want.Op || got[0].Args.ID != want.Args.ID {
			t.Errorf("%s: %+v", flags, got)
		}
	}
}

// The short forms do what setup does: start refuses where a daemon runs, and
// stop asks it to end.
func TestSetupVerbs(t *testing.T) {
	if os.Geteuid() != 0 {
		for _, op := range []string{"start", "stop", "restart"} {
			if r := runIpsec(t, op); r.code != int(whack.ExitPermission) {
				t.Errorf("%s as an ordinary user: exit %d", op, r.code)
			}
		}
		return
	}
	l := listen(t)
	if r := runIpsec(t, "start"); r.code != int(whack.ExitFailed) || !strings.Contains(r.err, "already running") {
		t.Errorf("start: exit %d, %s", r.code, r.err)
	}
	l.last()
	if r := runIpsec(t, "stop"); r.code != 0 {
		t.Errorf("stop: exit %d, %s", r.code, r.err)
	}
	if got := l.last(); len(got) == 0 || got[len(got)-1].Op != whack.OpShutdown {
		t.Errorf("stop asked for %+v", got)
	}
	if a, b := runIpsec(t, "version").out, runIpsec(t, "--version").out; a != b || a == "" {
		t.Errorf("version prints %q, --version %q", a, b)
	}
}

// R8.1: a start says which file of secrets is not used, and goes on.
func TestStartTellsOfLooseSecrets(t *testing.T) {
	conf := gateway(t)
	for name, mode := range map[string]os.FileMode{"ipsec.conf": 0o644, "ipsec.secrets": 0o644} {
		text := map[string]string{"ipsec.conf": cleanConf, "ipsec.secrets": ": PSK \"0x6d1f0c9a_77e2b305_c8a4410e_19fb5d62\"\n"}[name]
		if err := os.WriteFile(filepath.Join(conf, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	var diag strings.Builder
	if err := (&setup{at: where(), diag: &diag}).checkFiles(); err != nil {
		t.Fatal(err)
	}
	if got := diag.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "ipsec.secrets") || !strings.Contains(got, "chmod 600") {
		t.Errorf("%q", got)
	}
}

// An answer that has been printed stays the only one.
func TestOneJSONValue(t *testing.T) {
	failure := &exitError{whack.ExitFailed, errors.New("1 of 2 seeds break a rule")}
	for _, printed := range []string{"", "{\"seeds\":2}\n"} {
		var b strings.Builder
		a := &answer{Writer: &b}
		fmt.Fprint(a, printed)
		a.failed(failure)
		if want := cmp.Or(printed, "{\"exit\":1,\"reason\":\"failed\",\"text\":\"1 of 2 seeds break a rule\"}\n"); b.String() != want {
			t.Errorf("%q, want %q", &b, want)
		}
	}
}

// --json says that a thing is done, too.
func TestOutcomeOfManualAndSetup(t *testing.T) {
	l := listen(t)
	if err := os.WriteFile(filepath.Join(where().conf, "ipsec.conf"), []byte("version 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]outcome{
		"manual --down x --json": {},
		"manual --json":          {whack.ExitUsage, "usage", ""},
		"setup stop --json":      {},
	} {
		if strings.HasPrefix(args, "setup") && os.Geteuid() != 0 {
			want = outcome{whack.ExitPermission, "not-permitted", ""}
		}
		r := runIpsec(t, strings.Fields(args)...)
		var got outcome
		if err := json.Unmarshal([]byte(r.out), &got); err != nil {
			t.Errorf("%s: %v in %q, %s", args, err, r.out, r.err)
		}
		if got.Text = ""; got != want || r.code != int(want.Exit) {
			t.Errorf("%s: exit %d, %+v, want %+v", args, r.code, got, want)
		}
	}
	l.last()
}

// --json has the reason in a word, also where nothing answers.
func TestReasonWithoutDaemon(t *testing.T) {
	gateway(t)
	for _, args := range []string{"up west-east --json", "auto --status --json", "eroute --json", "look --json"} {
		r := runIpsec(t, strings.Fields(args)...)
		var got outcome
		if err := json.Unmarshal([]byte(r.out), &got); err != nil {
			t.Errorf("%s: %v in %q", args, err, r.out)
		}
		if r.code != int(whack.ExitNotRunning) || got.Exit != whack.ExitNotRunning || got.Reason != "not-running" || !strings.Contains(r.err, "is Pluto running?") {
			t.Errorf("%s: exit %d, %+v, %s", args, r.code, got, r.err)
		}
	}
}
