package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func ask(h http.Handler, method, host, path string) (int, string) {
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func of(s *Sample) Source {
	return func(context.Context) (*Sample, error) { return s, nil }
}

func TestExposition(t *testing.T) {
	s := &Sample{Version: "1.0", IKESAs: []Value{{[]string{"1"}, 0}, {[]string{"2"}, 7}}, ChildSAs: 9, HalfOpen: 3, Jobs: 2,
		Handshakes: []Value{{[]string{"ike", "new"}, 11}}, Failures: []Value{{[]string{"ike", "authentication"}, 5}},
		Lost: []Value{{[]string{"ike", "silent"}, 1}}, Retransmits: 13, Unsent: 4, Contained: 6,
		Drops:       []Value{{[]string{"replay"}, 42}},
		Connections: []Connection{{"net", 2, 100, 200}, {"no\xff\"utf\n8", 0, 1, 2}, {Other, 1, 3, 4}}}
	code, text := ask(Handler(of(s)), "GET", "127.0.0.1:9500", "/metrics")
	if code != 200 {
		t.Fatalf("%d: %s", code, text)
	}
	for _, want := range []string{
		`ipsec_build_info{version="1.0"} 1`, `ipsec_ike_sas{version="1"} 0`, `ipsec_ike_sas{version="2"} 7`, `ipsec_child_sas 9`,
		`ipsec_half_open_ike_sas 3`, `ipsec_waiting_jobs 2`, `ipsec_established_total{how="new",sa="ike"} 11`,
		`ipsec_failures_total{reason="authentication",sa="ike"} 5`, `ipsec_lost_total{reason="silent",sa="ike"} 1`,
		`ipsec_retransmits_total 13`, `ipsec_unsent_messages_total 4`, `ipsec_contained_faults_total 6`, `ipsec_dropped_packets_total{reason="replay"} 42`,
		`ipsec_connection_child_sas{connection="net"} 2`, `ipsec_connection_octets_total{connection="net",direction="in"} 100`,
		`ipsec_connection_octets_total{connection="other",direction="out"} 4`, `ipsec_connection_octets_total{connection="no?\"utf\n8",direction="in"} 1`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}

// The names of connections are the one label that could grow: beyond MaxNames
// they are one, and none ever changes its label (CTL-18).
func TestNamesAreBounded(t *testing.T) {
	var n Names
	labels := map[string]bool{}
	for i := range 1_000_000 {
		labels[n.Label(fmt.Sprintf("peer-%d", i))] = true
	}
	if len(labels) != MaxNames+1 || len(n.known) != MaxNames || !labels[Other] {
		t.Errorf("%d labels, %d kept", len(labels), len(n.known))
	}
	if n.Label("peer-3") != "peer-3" || n.Label("peer-999999") != Other {
		t.Error("a name has changed its label")
	}
}

// A page whose name the DNS has moved to a loopback address is told nothing, nor
// is who asks for anything else (CTL-18).
func TestOnlyLocalNames(t *testing.T) {
	h := Handler(of(&Sample{}))
	for host, want := range map[string]int{"127.0.0.1:9500": 200, "localhost:9500": 200, "localhost": 200, "[::1]:9500": 200,
		"evil.example:9500": 403, "192.0.2.1:9500": 403, "": 403, "127.0.0.1.evil.example": 403} {
		if code, _ := ask(h, "GET", host, "/metrics"); code != want {
			t.Errorf("host %q: %d, want %d", host, code, want)
		}
	}
	for path, want := range map[string]int{"/": 404, "/debug/pprof/": 404} {
		if code, _ := ask(h, "GET", "localhost", path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if code, _ := ask(h, "POST", "localhost", "/metrics"); code != 405 {
		t.Errorf("POST: %d", code)
	}
}

// Without a sample a request fails, so that nobody takes silence for zeros.
func TestNoSample(t *testing.T) {
	h := Handler(func(context.Context) (*Sample, error) { return nil, errors.New("the loop has ended") })
	code, text := ask(h, "GET", "localhost", "/metrics")
	if code != http.StatusInternalServerError || !strings.Contains(text, "the loop has ended") {
		t.Errorf("%d: %s", code, text)
	}
}

func TestServe(t *testing.T) {
	quiet := log.New(io.Discard, "", 0)
	if _, err := Serve(netip.MustParseAddrPort("0.0.0.0:0"), of(&Sample{}), quiet); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("all addresses are served: %v", err)
	}
	s, err := Serve(netip.MustParseAddrPort("127.0.0.1:0"), of(&Sample{Version: "x"}), quiet)
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + s.Addr().String() + "/metrics"
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || !strings.Contains(string(body), `ipsec_build_info{version="x"} 1`) {
		t.Errorf("%v:\n%s", err, body)
	}
	if _, err := Serve(s.Addr(), of(&Sample{}), quiet); err == nil {
		t.Error("the same port was opened twice")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := http.Get(url); err == nil {
		t.Error("after Close it answers")
	}
}
