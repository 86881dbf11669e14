package config

import (
	"strings"
	"testing"
)

// metrics= takes loopback addresses only; everything else is refused in one line
// with file, line, and what to write instead (CTL-18).
func TestMetricsOnLoopbackOnly(t *testing.T) {
	const before = "version 2.0\nconfig setup\n\tmetrics="
	for _, good := range []string{"127.0.0.1:9500", "127.8.9.10:1", "[::1]:65535"} {
		f := ParseText("ipsec.conf", before+good+"\n")
		if err := f.Err(); err != nil || f.Setup.Metrics.String() != good {
			t.Errorf("%s: got %s, %v", good, f.Setup.Metrics, err)
		}
	}
	const form, outside, zero = "is not an address and a port", "is not a loopback address", "port 0"
	for bad, says := range map[string]string{
		"0.0.0.0:9500": outside, "192.0.2.1:9500": outside, "[::]:9500": outside, "[2001:db8::1]:9500": outside, "[::ffff:192.0.2.1]:9500": outside,
		"localhost:9500": form, "9500": form, ":9500": form, "127.0.0.1": form, "127.0.0.1:99999": form, "[::1%lo]:9500": form, "yes": form,
		"127.0.0.1:0": zero,
	} {
		f := ParseText("ipsec.conf", before+bad+"\n")
		err := f.Err()
		if err == nil || f.Setup.Metrics.IsValid() {
			t.Errorf("%s was taken as %s", bad, f.Setup.Metrics)
			continue
		}
		line := err.Error()
		if !strings.HasPrefix(line, "ipsec.conf:3: metrics: ") || !strings.Contains(line, says) || strings.Contains(line, "\n") || !strings.Contains(line, "9500") {
			t.Errorf("%s: %s", bad, line)
		}
	}
	if f := ParseText("ipsec.conf", "version 2.0\nconfig setup\n"); f.Setup.Metrics.IsValid() {
		t.Errorf("without metrics= they are served on %s", f.Setup.Metrics)
	}
}
