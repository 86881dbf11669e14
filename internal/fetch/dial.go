package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// client never reuses a connection, takes no proxy from the environment, and
// follows few redirects. The address is judged after the name is resolved, for
// each connection anew.
var client = &http.Client{
	Transport: &http.Transport{
		DialContext: dial, DisableKeepAlives: true, DisableCompression: true,
		TLSHandshakeTimeout: maxTime, ResponseHeaderTimeout: maxTime, MaxResponseHeaderBytes: 16 << 10,
	},
	CheckRedirect: func(req *http.Request, via []*http.Request) error {
		switch {
		case len(via) > maxRedirects:
			return fmt.Errorf("more than %d redirects", maxRedirects)
		case req.URL.Scheme != "http" && req.URL.Scheme != "https":
			return errors.New("redirected to something that is not http")
		}
		return nil
	},
}

type trustedHost struct{}

// trusting lets a fetch reach any address of the host and port that the
// configuration names, but of no other that it may be redirected to.
func trusting(ctx context.Context, u *url.URL) context.Context {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return context.WithValue(ctx, trustedHost{}, net.JoinHostPort(u.Hostname(), port))
}

func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	if trusted, _ := ctx.Value(trustedHost{}).(string); trusted != addr {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if !public(to.Addr()) {
				return fmt.Errorf("%s is not an address that a certificate may send us to; name it in a ca section", to.Addr())
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, addr)
}

// inner are address blocks that are nobody's on the Internet, beside those that
// netip knows: RFC 6598, RFC 6890, RFC 2544, and IPv4 inside of IPv6 (RFC 6052,
// RFC 3056), which hides an IPv4 address.
var inner = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

// public reports whether an address is one of the Internet at large.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range inner {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
