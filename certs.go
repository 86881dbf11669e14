package cygnet

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/fetch"
	"cygnet/internal/keys"
	"cygnet/internal/pki"
)

// certificates are where a daemon's X.509 comes from: the files of ipsec.d, and
// what is fetched.
type certificates struct {
	mu      sync.Mutex
	fetcher *fetch.Fetcher // nil: nothing is fetched
	every   time.Duration  // how often CRLs are fetched without being asked for
	last    time.Time
	closed  bool
}

// refreshEvery is how often CRLs of ca sections are fetched if crlcheckinterval=
// does not say.
const refreshEvery = time.Hour

// ReadCertificates implements pluto.Certificates.
func (s *secrets) ReadCertificates(f *config.File, named []string) error {
	store, problems := pki.Load(config.OS{}, config.IPsecDir(s.o.Confs, &f.Setup), time.Now(), pki.Options{
		Named: named, Authorities: authorities(f), Warn: f.Setup.SecretsWarn,
	})
	s.SetCertificates(keys.Certificates{
		Store: store.Inherit(s.Store()), Strict: strict(f.Setup.StrictCRL), NoRequest: f.Setup.NoCertRequest,
		Fetch: s.fetching(f), Lists: f.Setup.CRLInterval > 0, Responders: f.Setup.OCSP,
	})
	if cas, ends, crls, private := store.Len(); s.o.Log != nil && cas+ends+crls+private > 0 {
		s.o.Log.Info(fmt.Sprintf("loaded %d CA certificates, %d certificates, %d CRLs and %d private keys from %s",
			cas, ends, crls, private, filepath.Join(config.IPsecDir(s.o.Confs, &f.Setup), "{cacerts,certs,crls,private}")))
	}
	var errs []error
	for _, p := range problems {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// authorities are the ca sections as pki has them.
func authorities(f *config.File) []pki.Authority {
	var list []pki.Authority
	for _, c := range f.CAs {
		list = append(list, pki.Authority{Name: c.Name, File: c.Cert, CRLs: config.URIs(c.CRLs), OCSPs: config.URIs(c.OCSPs)})
	}
	return list
}

func strict(s config.StrictCRL) pki.Strict {
	switch s {
	case config.StrictYes:
		return pki.StrictYes
	case config.StrictIfURI:
		return pki.StrictIfURI
	}
	return pki.StrictNo
}

// fetching is the Fetcher for a configuration; nil if it wants nothing fetched.
func (s *secrets) fetching(f *config.File) pki.Fetcher {
	c := &s.certs
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := f.Setup.CRLInterval > 0 || f.Setup.OCSP
	for _, a := range authorities(f) {
		wanted = wanted || len(a.CRLs)+len(a.OCSPs) > 0
	}
	c.every, c.last = f.Setup.CRLInterval, time.Time{}
	if c.every == 0 {
		c.every = refreshEvery
	}
	if c.fetcher != nil { // a new one has forgotten what the old one fetched lately
		go c.fetcher.Close() // it ends at once, but for those who wait for it
		c.fetcher = nil
	}
	if !wanted || c.closed {
		return nil
	}
	c.fetcher = fetch.New(fetch.Options{Wait: f.Setup.FetchWait})
	return c.fetcher
}

// Refresh implements pluto.Certificates: CRLs of ca sections are fetched when
// the configuration is read, and again every crlcheckinterval=. Once ctx has
// ended nothing is fetched any more.
func (s *secrets) Refresh(ctx context.Context) bool {
	defer context.AfterFunc(ctx, s.certs.close)()
	if !s.certs.due(time.Now()) {
		return false
	}
	return s.Ring.Refresh(time.Now())
}

func (c *certificates) due(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fetcher == nil || !c.last.IsZero() && now.Sub(c.last) < c.every {
		return false
	}
	c.last = now
	return true
}

// close ends what is under way.
func (c *certificates) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.fetcher != nil {
		c.fetcher.Close()
		c.fetcher = nil
	}
}
