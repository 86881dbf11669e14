package fetch

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cygnet/internal/pki"
)

// server is an HTTP server on the loopback device.
func server(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func fetcher(t *testing.T, o Options) *Fetcher {
	f := New(o)
	t.Cleanup(f.Close)
	return f
}

func TestFetch(t *testing.T) {
	at := server(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/crl":
			io.WriteString(w, "a list")
		case "/ocsp":
			b, _ := io.ReadAll(r.Body)
			io.WriteString(w, r.Method+" "+r.Header.Get("Content-Type")+" "+string(b))
		case "/moved":
			http.Redirect(w, r, "/crl", http.StatusFound)
		case "/circle":
			http.Redirect(w, r, "/circle", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/long":
			w.Write(bytes.Repeat([]byte("x"), maxResponse+1))
		default:
			http.NotFound(w, r)
		}
	})
	f := fetcher(t, Options{Wait: time.Minute})
	for _, c := range []struct {
		what pki.Fetch
		body string
		says string
	}{
		{pki.Fetch{URI: at + "/crl", Configured: true}, "a list", ""},
		{pki.Fetch{URI: at + "/ocsp", Configured: true, Request: []byte("question")}, "POST application/ocsp-request question", ""},
		{pki.Fetch{URI: at + "/moved", Configured: true}, "a list", ""},
		{pki.Fetch{URI: at + "/none", Configured: true}, "", "404"},
		{pki.Fetch{URI: at + "/circle", Configured: true}, "", "redirects"},
		{pki.Fetch{URI: at + "/file", Configured: true}, "", "not http"},
		{pki.Fetch{URI: at + "/long", Configured: true, Request: []byte("x")}, "", "longer"},
		{pki.Fetch{URI: "http://[::1", Configured: true}, "", "missing"},
		{pki.Fetch{URI: "ldap://127.0.0.1/", Configured: true}, "", "unsupported protocol"},
	} {
		body, err := f.Fetch(c.what)
		if string(body) != c.body || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q, %v", c.what.URI, body, err)
		}
	}
}

// X509-13: a certificate leads us nowhere inside, also not by a redirect of a
// server that the configuration names.
func TestAdv_X509_13_NoPrivateTarget(t *testing.T) {
	var asked atomic.Int32
	inside := server(t, func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); io.WriteString(w, "inside") })
	named := server(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside, http.StatusFound) })
	f := fetcher(t, Options{Wait: time.Minute})
	for _, what := range []pki.Fetch{{URI: inside}, {URI: strings.Replace(inside, "127.0.0.1", "localhost", 1)}, {URI: named, Configured: true}} {
		if body, err := f.Fetch(what); err == nil || !strings.Contains(err.Error(), "ca section") {
			t.Errorf("%+v: %q, %v", what, body, err)
		}
	}
	if asked.Load() != 0 {
		t.Error("the server inside was asked")
	}
	for a, yes := range map[string]bool{
		"198.51.99.1": true, "2001:4860::1": true, "10.0.0.1": false, "172.16.1.1": false, "192.168.1.1": false, "127.0.0.1": false,
		"169.254.169.254": false, "100.64.1.1": false, "0.0.0.0": false, "224.0.0.1": false, "::1": false, "fe80::1": false, "fd00::1": false,
		"::ffff:10.0.0.1": false, "64:ff9b::a00:1": false, "2002:a00:1::": false, "255.255.255.255": false,
	} {
		if public(netip.MustParseAddr(a)) != yes {
			t.Errorf("public(%s) is not %v", a, yes)
		}
	}
}

// A slow server holds nobody up: the negotiation goes on without, and what comes
// in the end is there for the next.
func TestLate(t *testing.T) {
	release := make(chan struct{})
	var asked atomic.Int32
	at := server(t, func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); <-release; io.WriteString(w, "late") })
	f := fetcher(t, Options{Wait: time.Millisecond})
	what := pki.Fetch{URI: at, Configured: true}
	if _, err := f.Fetch(what); !errors.Is(err, ErrLate) {
		t.Fatal(err)
	}
	close(release)
	var body []byte
	err := ErrLate
	for errors.Is(err, ErrLate) {
		body, err = f.Fetch(what)
	}
	if string(body) != "late" || err != nil || asked.Load() != 1 {
		t.Errorf("%q, %v, asked %d times", body, err, asked.Load())
	}
}

// A server that does not answer is waited for once, not by each who asks.
func TestSlowServerIsWaitedForOnce(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	at := server(t, func(http.ResponseWriter, *http.Request) { <-release })
	now := time.Unix(1e9, 0)
	f := fetcher(t, Options{Wait: time.Hour, Now: func() time.Time { return now }})
	what := pki.Fetch{URI: at, Configured: true}
	if _, err := f.begin(what); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour) // with any waiting, this test would not end
	if _, err := f.Fetch(what); !errors.Is(err, ErrLate) {
		t.Error(err)
	}
}

// Answers and failures serve for a while, and no longer.
func TestRemembers(t *testing.T) {
	now := time.Unix(1e9, 0)
	var asked atomic.Int32
	at := server(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1); r.URL.Path == "/no" {
			http.NotFound(w, r)
		}
	})
	f := fetcher(t, Options{Wait: time.Minute, Now: func() time.Time { return now }})
	for _, c := range []struct {
		path  string
		after time.Duration
		asked int32
	}{
		{"/", 0, 1}, {"/", keepAnswer - 1, 1}, {"/", keepAnswer, 2},
		{"/no", keepAnswer, 3}, {"/no", keepAnswer + keepFailure - 1, 3}, {"/no", keepAnswer + keepFailure, 4},
	} {
		now = time.Unix(1e9, 0).Add(c.after)
		if f.Fetch(pki.Fetch{URI: at + c.path, Configured: true}); asked.Load() != c.asked {
			t.Errorf("%s after %s: asked %d times, want %d", c.path, c.after, asked.Load(), c.asked)
		}
	}
}

// No more than so many at a time, and after Close none.
func TestBounds(t *testing.T) {
	release := make(chan struct{})
	at := server(t, func(http.ResponseWriter, *http.Request) { <-release })
	f := New(Options{Wait: time.Millisecond})
	for i := range maxUnderWay + 1 {
		_, err := f.Fetch(pki.Fetch{URI: at + "/" + strings.Repeat("x", i), Configured: true})
		if want := map[bool]error{true: ErrLate, false: ErrBusy}[i < maxUnderWay]; !errors.Is(err, want) {
			t.Errorf("fetch %d: %v", i, err)
		}
	}
	f.Close() // ends them, though the server never answered
	close(release)
	if _, err := f.Fetch(pki.Fetch{URI: at, Configured: true}); err == nil {
		t.Error("fetched after Close")
	}
	f = fetcher(t, Options{Wait: time.Minute})
	for i := range maxAnswers + 10 {
		f.keep(key{uri: strings.Repeat("x", i)}, &answer{done: make(chan struct{})})
	}
	if len(f.pending) != maxAnswers || len(f.order) != maxAnswers {
		t.Errorf("%d and %d answers are remembered", len(f.pending), len(f.order))
	}
}
