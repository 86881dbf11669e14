package pluto

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/pki"
	"cygnet/internal/whack"
)

// Certificates are what a Keys is as well if it knows X.509. It is safe for
// concurrent use.
type Certificates interface {
	ike.CertStore
	// AuthorityV1 is Authorities for IKEv1's CERTREQ.
	AuthorityV1(c *ike.Conn) (name []byte, ok bool)
	// ReadCertificates reads them again; named are the files that connections
	// want beside those of ipsec.d/certs. What cannot be used is left out and
	// told.
	ReadCertificates(f *config.File, named []string) error
	// Store is what is known now; never nil.
	Store() *pki.Store
	// HasPrivate reports whether we can sign as the certificate of that name.
	HasPrivate(name string) bool
	// Refresh fetches what is due to be fetched, which may take a while. It
	// reports whether anything came of it. Once ctx has ended nothing is
	// fetched any more.
	Refresh(ctx context.Context) bool
}

// certs is nil where the store of keys knows no certificates.
func (d *Daemon) certs() Certificates {
	c, _ := d.o.Keys.(Certificates)
	return c
}

func (d *Daemon) certStore() *pki.Store {
	if c := d.certs(); c != nil {
		return c.Store()
	}
	return nil
}

// loadCertificates reads certificates for the connections of f and for those
// that are loaded.
func (d *Daemon) loadCertificates(f *config.File) {
	store := d.certs()
	if store == nil || f == nil {
		return
	}
	named := f.Certificates()
	for _, name := range d.loadedNames() {
		for _, c := range d.loaded[name].Named(name) {
			named = append(named, c.Left.Cert.File, c.Right.Cert.File)
		}
	}
	slices.Sort(named)
	named = slices.DeleteFunc(slices.Compact(named), func(s string) bool { return s == "" })
	if err := store.ReadCertificates(f, named); err != nil {
		d.log.Error(err.Error())
	}
	d.recheck()
	select {
	case d.refreshNow <- struct{}{}:
	default:
	}
}

// advise says what is wrong with our own certificates in connections: things that
// may be mended while the daemon runs, so that the connections are loaded all the
// same, but that would otherwise show only when a negotiation fails.
func (d *Daemon) advise(list []*connection.Description) {
	store := d.certs()
	for _, desc := range list {
		if store != nil && desc.Local.Certs.File != "" && desc.Oriented {
			d.adviseOn(desc, store)
		}
	}
}

// adviseAll is advise on all that is loaded.
func (d *Daemon) adviseAll() {
	var list []*connection.Description
	for _, v := range d.table.Views() {
		if v.Instance == 0 {
			list = append(list, v.Description)
		}
	}
	d.advise(list)
}

func (d *Daemon) adviseOn(desc *connection.Description, store Certificates) {
	file := desc.Local.Certs.File
	warn := func(format string, args ...any) {
		d.log.Warn(fmt.Sprintf("%q: certificate %q ", desc.Name, file) + fmt.Sprintf(format, args...))
	}
	if !store.HasPrivate(file) {
		warn("has no private key here, so that we cannot prove to be its owner: put the key file into ipsec.d/private, or name it in ipsec.secrets")
	}
	cert := store.Store().Certificate(file)
	switch now := time.Now(); {
	case cert == nil:
	case now.After(cert.NotAfter):
		warn("expired on %s: peers will refuse it; put a new one in its place and say `ipsec auto --rereadcerts'", cert.NotAfter.UTC().Format(time.DateTime))
	case now.Before(cert.NotBefore):
		warn("is not valid before %s: is the clock right?", cert.NotBefore.UTC().Format(time.DateTime))
	}
	if ca := store.Store().Missing(file); ca != "" {
		warn("was issued by '%s', whose certificate is in none of our files: append it to the certificate's file, unless all peers have it", ca)
	}
}

// certificatesFor reads certificates again if connections want one that is not
// known.
func (d *Daemon) certificatesFor(conns []*config.Conn, f *config.File) {
	store := d.certs()
	if store == nil {
		return
	}
	for _, c := range conns {
		for _, e := range []*config.End{&c.Left, &c.Right} {
			if e.Cert.File != "" && store.Store().Certificate(e.Cert.File) == nil {
				also := *d.file
				also.Conns = append(slices.Clone(also.Conns), f.Conns...)
				d.loadCertificates(&also)
				return
			}
		}
	}
}

// recheck ends the IKE SAs of peers whose certificate has been revoked since
// they proved themselves by it (adversary.md X509-21). The next attempt of
// theirs is refused.
func (d *Daemon) recheck() {
	store := d.certs()
	if store == nil {
		return
	}
	known, now := store.Store(), time.Now()
	for _, k := range d.table.IKEs() {
		if k.Up == nil || len(k.Up.PeerCerts) == 0 {
			continue
		}
		if why := known.Revoked(now, k.Up.PeerCerts); why != "" {
			d.log.Warn(fmt.Sprintf("%s #%d: %s: deleting its tunnels", k.Conn.Title(), k.Serial, why))
			d.stepTable(connection.DeleteState{Serial: k.Serial})
		}
	}
}

// refreshEvery is how often it is asked whether a CRL is due.
const refreshEvery = time.Minute

// refresh keeps CRLs fresh until ctx ends. It runs in a goroutine of its own, as
// servers may be slow.
func (d *Daemon) refresh(ctx context.Context) {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		if d.certs().Refresh(ctx) {
			d.call(ctx, d.recheck)
		}
		select {
		case <-tick.C:
		case <-d.refreshNow:
		case <-ctx.Done():
			return
		}
	}
}

// certList answers the listings of certificates.
func (d *Daemon) certList(r whack.Request) lister {
	store, now := &pki.Store{}, time.Now()
	if c := d.certs(); c != nil {
		store = c.Store()
	}
	switch r.Op {
	case whack.OpListCerts:
		return &whack.Certs{Schema: whack.Schema, Title: "X.509 end entity certificates", UTC: r.Args.UTC, Certs: d.certEntries(store.Ends(now), true)}
	case whack.OpListCAs:
		return &whack.Certs{Schema: whack.Schema, Title: "X.509 CA certificates", UTC: r.Args.UTC, Certs: d.certEntries(store.CAs(now), false)}
	}
	list := &whack.CRLs{Schema: whack.Schema, CRLs: []whack.CRL{}, UTC: r.Args.UTC}
	for _, e := range store.CRLs(now) {
		list.CRLs = append(list.CRLs, whack.CRL(e))
	}
	return list
}

func (d *Daemon) certEntries(entries []pki.Entry, ends bool) []whack.Cert {
	list := []whack.Cert{}
	for _, e := range entries {
		c := whack.Cert{Name: e.Name, Subject: e.Subject, Issuer: e.Issuer, Names: e.Names, Serial: e.Serial, Key: e.Key, From: e.From, Until: e.Until, State: e.State}
		c.Private = ends && d.certs().HasPrivate(e.Name)
		list = append(list, c)
	}
	return list
}
