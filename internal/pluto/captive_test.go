package pluto

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/whack"
)

// 10.6: `ipsec oe captive' makes the daemon forget what the DNS has said, at its
// begin and its end, and the status says how long it still takes, seconds rounded up.
func TestCaptive(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		dns := unknown(t, p)
		p.west.start(setup)
		time.Sleep(time.Second)
		captive := func(seconds uint32) (forgot []string) {
			t.Helper()
			p.west.Do(context.Background(), whack.Request{Op: whack.OpCaptive, Args: whack.Args{Seconds: seconds}}, func(whack.Reply) {})
			dns.mu.Lock()
			defer dns.mu.Unlock()
			forgot, dns.forgot = dns.forgot, nil
			return forgot
		}
		shown := func(line string) {
			t.Helper()
			for _, op := range []whack.Op{whack.OpStatus, whack.OpPolicy} {
				text := strings.Join(p.west.must(op, ""), "\n")
				if strings.Contains(text, "captive") != (line != "") || !strings.Contains(text, line) {
					t.Errorf("%s, looked for %q:\n%s", op, line, text)
				}
			}
		}
		shown("")
		if got := captive(60); !slices.Contains(got, "") {
			t.Errorf("forgotten was %q", got)
		}
		time.Sleep(100 * time.Millisecond)
		shown("captive: for 60s more")
		time.Sleep(59*time.Second + 800*time.Millisecond)
		shown("captive: for 1s more")
		time.Sleep(time.Second)
		shown("")
		captive(60)
		if got := captive(0); !slices.Contains(got, "") {
			t.Errorf("forgotten was %q", got)
		}
		shown("")
		if got := captive(0); len(got) != 0 {
			t.Errorf("nothing has ended, and forgotten was %q", got)
		}
	})
}
