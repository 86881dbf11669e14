package pluto

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/metrics"
	"cygnet/internal/whack"
)

// scrape is the answer to a request for metrics.
func (g *gateway) scrape(t *testing.T) string {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Host = "127.0.0.1:9500"
	w := httptest.NewRecorder()
	metrics.Handler(g.sample).ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("metrics: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func shows(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, line := range want {
		if !strings.Contains(text, "\n"+line+"\n") {
			var ours []string
			for l := range strings.Lines(text) {
				if strings.HasPrefix(l, "ipsec_") {
					ours = append(ours, l)
				}
			}
			t.Errorf("%s is missing in\n%s", line, strings.Join(ours, ""))
		}
	}
}

// CTL-18: a tunnel comes, is rekeyed and goes; what it has carried stays counted.
func TestMetrics(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		conf := setup + tunnel("net", "auto=add") + tunnel("never", "rightsubnet=10.9.0.0/24", "auto=add")
		p.west.start(conf)
		p.east.start(conf)
		shows(t, p.west.scrape(t), `ipsec_ike_sas{version="2"} 0`, `ipsec_connection_child_sas{connection="net"} 0`,
			`ipsec_connection_octets_total{connection="net",direction="out"} 0`)
		p.west.must(whack.OpUp, "net")
		p.carries(t, "hello")
		text := p.west.scrape(t)
		shows(t, text, `ipsec_ike_sas{version="2"} 1`, `ipsec_child_sas 1`, `ipsec_connection_child_sas{connection="net"} 1`,
			`ipsec_connection_child_sas{connection="never"} 0`, `ipsec_established_total{how="new",sa="ike"} 1`, `ipsec_established_total{how="new",sa="child"} 1`,
			`ipsec_half_open_ike_sas 0`, `ipsec_dropped_packets_total{reason="replay"} 0`)
		out := p.west.octets(t)
		if out.In == 0 || out.Out == 0 {
			t.Errorf("nothing was carried: %+v", out)
		}
		p.west.must(whack.OpDown, "net")
		text = p.west.scrape(t)
		shows(t, text, `ipsec_ike_sas{version="2"} 0`, `ipsec_child_sas 0`, `ipsec_connection_child_sas{connection="net"} 0`)
		if after := p.west.octets(t); after.In != out.In || after.Out != out.Out {
			t.Errorf("octets were %+v, and are %+v after down", out, after)
		}
		if n := len(p.west.tally.carriers); n != 0 {
			t.Errorf("%d SAs are still counted", n)
		}
	})
}

// Octets of SAs that were replaced go on to count.
func TestMetricsOverRekeying(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start(setup + tunnel("net", "auto=start", "salifetime=30m", "rekeymargin=5m"))
		p.east.start(setup + tunnel("net", "auto=add"))
		until(t, "a tunnel", time.Minute, func() bool { return p.west.states(established) == 1 })
		p.carries(t, "hello")
		before := p.west.octets(t)
		time.Sleep(2 * time.Hour)
		after := p.west.octets(t)
		if after.In < before.In || after.Out < before.Out || before.Out == 0 {
			t.Errorf("octets were %+v, and are %+v after rekeying", before, after)
		}
		rekeyed := p.west.tally.established[label{"child", "rekey"}]
		if rekeyed < 3 {
			t.Errorf("rekeyed %v times", rekeyed)
		}
		shows(t, p.west.scrape(t), fmt.Sprintf(`ipsec_established_total{how="rekey",sa="child"} %v`, rekeyed))
		if n := len(p.west.tally.carriers); n != 2 {
			t.Errorf("%d SAs are counted", n)
		}
	})
}

func (g *gateway) octets(t *testing.T) metrics.Connection {
	t.Helper()
	s, err := g.sample(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Connections {
		if c.Name == "net" {
			return c
		}
	}
	t.Fatal("net is not shown")
	return metrics.Connection{}
}

// Failures are counted by reason.
func TestMetricsOfFailures(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.secrets = "@west @east : PSK \"another secret of the two, just as long\"\n"
		p.west.start(setup + tunnel("net", "keyingtries=1", "auto=add"))
		p.east.start(setup + tunnel("net", "auto=add"))
		p.west.do(whack.OpUp, "net")
		shows(t, p.west.scrape(t), `ipsec_failures_total{reason="authentication",sa="ike"} 1`)
		shows(t, p.east.scrape(t), `ipsec_failures_total{reason="authentication",sa="ike"} 1`, `ipsec_half_open_ike_sas 0`)
		p.east.stop()
		p.west.do(whack.OpUp, "net")
		text := p.west.scrape(t)
		shows(t, text, `ipsec_failures_total{reason="silent",sa="ike"} 1`)
		if strings.Contains(text, "ipsec_retransmits_total 0\n") {
			t.Error("no retransmission was counted")
		}
	})
}

// A million callers, each with an identity and a connection's name of their own, and
// what they make the daemon keep and show stays as it is (CTL-18).
func TestMetricsAreBounded(t *testing.T) {
	tally := newTally()
	none := func(ipsec.SAID) ipsec.Usage { return ipsec.Usage{Bytes: 1} }
	for i := range uint32(1_000_000) {
		c := &ike.Conn{Name: fmt.Sprintf("caller-%d", i)}
		id := ike.ID{Kind: ike.IDFQDN, Data: c.Name}
		in, out := ipsec.SAID{Proto: ipsec.ESP, SPI: ipsec.SPI(2*i + 1000)}, ipsec.SAID{Proto: ipsec.ESP, SPI: ipsec.SPI(2*i + 1001)}
		for _, f := range []ike.Fact{ike.IKEUp{RemoteID: id}, ike.ChildUp{In: in, Out: out},
			ike.Failed{Why: &ike.Failure{Reason: ike.ReasonAuth, Why: id.Data, Notify: uint16(i)}}} {
			tally.count(ike.Report{Conn: c, Serial: i, Fact: f})
		}
		tally.gone(in, none)
		tally.gone(out, none)
	}
	if len(tally.carriers) != 0 || len(tally.carried) != metrics.MaxNames+1 || len(tally.established) != 2 || len(tally.failed) != 1 {
		t.Errorf("%d SAs, %d connections, %d and %d counts are kept", len(tally.carriers), len(tally.carried), len(tally.established), len(tally.failed))
	}
	if rest := tally.carried[metrics.Other]; rest.in != 1_000_000-metrics.MaxNames || rest.out != rest.in {
		t.Errorf("the others have carried %+v", rest)
	}
}
