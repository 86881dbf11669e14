package metrics

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// Any user of the machine may connect, so what connections cost is bounded.
const (
	maxConns    = 16               // more wait in the kernel
	maxScrapes  = 2                // at a time; more get 503
	headerTime  = 5 * time.Second  // for a request to arrive
	answerTime  = 15 * time.Second // for the answer to be taken, sampleTime within
	idleTime    = 2 * time.Minute  // scrapes come each minute or oftener
	headerBytes = 16 << 10
)

// Server is a running endpoint.
type Server struct {
	at   netip.AddrPort
	http http.Server
	done chan struct{}
}

// Serve answers GET /metrics on a loopback address until Close. Problems of single
// connections go to log.
func Serve(at netip.AddrPort, source Source, log *log.Logger) (*Server, error) {
	if !at.Addr().IsLoopback() {
		return nil, fmt.Errorf("serve metrics on %s: only loopback addresses serve them", at)
	}
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w", err)
	}
	s := &Server{at: l.Addr().(*net.TCPAddr).AddrPort(), done: make(chan struct{}), http: http.Server{Handler: Handler(source), ErrorLog: log,
		ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, WriteTimeout: answerTime, IdleTimeout: idleTime, MaxHeaderBytes: headerBytes}}
	go func() {
		defer close(s.done)
		s.http.Serve(netutil.LimitListener(l, maxConns)) // returns at Close
	}()
	return s, nil
}

// Addr is where it answers.
func (s *Server) Addr() netip.AddrPort { return s.at }

// Close ends all connections, and returns when nobody listens any more.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.done
	return err
}

// Handler answers GET /metrics, and nothing to pages that have made a browser
// believe that their host is this one.
func Handler(source Source) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(newCollector(source), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	show := promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r.Host) {
			http.Error(w, "this is no name of a loopback address", http.StatusForbidden)
			return
		}
		show.ServeHTTP(w, r)
	})
	return mux
}

// isLocal reports whether a Host header names this machine as only itself can.
func isLocal(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}
