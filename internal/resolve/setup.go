package resolve

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"cygnet/internal/config"
	"cygnet/internal/dns"
	"cygnet/internal/oe"
)

// Where the system keeps what config setup does not name.
const (
	resolvConf = "/etc/resolv.conf"
	rootKey    = "/usr/share/dns/root.key" // Debian's dns-root-data
)

// ForSetup makes the resolver that a configuration in dir (as config.Load)
// asks for. A resolver that does not validate is no error, see
// Resolver.Validates.
func ForSetup(dir string, s *config.Setup) (*Resolver, error) {
	o, err := OptionsFor(dir, s)
	if err != nil {
		return nil, err
	}
	return New(o)
}

// OptionsFor reads what New needs for a configuration in dir, from config setup
// and from the files that it and the system have. Two results that are equal
// make resolvers that do the same. An error names the file or keyword that is at
// fault.
func OptionsFor(dir string, s *config.Setup) (Options, error) {
	d := &s.DNS
	o := Options{Servers: d.Resolvers, Trust: d.Trust}
	switch d.DNSSEC {
	case config.DNSSECValidate:
		o.Method = BySelf
	case config.DNSSECOff:
		o.Method = ByNobody
	}
	if len(o.Servers) == 0 {
		text, err := os.ReadFile(resolvConf)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Options{}, fmt.Errorf("find a DNS server: %w", err)
		}
		o.Servers = systemServers(string(text), o.Method == BySelf || d.Trust)
	}
	if o.Method == BySelf {
		var err error
		if o.Anchors, err = readAnchors(dir, s); err != nil {
			return Options{}, err
		}
	}
	return o, nil
}

// systemServers are those of resolv.conf to ask: any, if it does not matter
// whose word it is, else those on this machine (8.4, rule 1). If there is none
// of these, the others stay: what they say is insecure, and Validates says why.
func systemServers(text string, anyone bool) []netip.AddrPort {
	all := Servers(text)
	here := slices.DeleteFunc(slices.Clone(all), func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() })
	if anyone || len(here) == 0 {
		return all
	}
	return here
}

// readAnchors reads the trust anchors: of the root, of ipsec.d/dnssec, and
// those that dnssec-anchors= names.
func readAnchors(dir string, s *config.Setup) (dns.Anchors, error) {
	files, err := filepath.Glob(filepath.Join(config.IPsecDir(dir, s), "dnssec", "*.key"))
	if err != nil {
		return nil, err
	}
	for _, name := range append(slices.Clone(s.DNS.Anchors), s.DNS.RootKey) {
		if name != "" && !filepath.IsAbs(name) {
			name = filepath.Join(config.IPsecDir(dir, s), "dnssec", name)
		}
		if name != "" {
			files = append(files, name)
		}
	}
	if s.DNS.RootKey == "" {
		if _, err := os.Stat(rootKey); err == nil {
			files = append(files, rootKey)
		}
	}
	anchors := dns.Anchors{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("trust anchor: %w", err)
		}
		if err := anchors.Read(string(text)); err != nil {
			return nil, fmt.Errorf("trust anchor %s: %w", name, err)
		}
	}
	if len(anchors) == 0 {
		return nil, fmt.Errorf("dnssec=validate needs a trust anchor: install dns-root-data, or name a file with dnssec-rootkey-file= or dnssec-anchors=")
	}
	return anchors, nil
}

// RecordOptions are what a configuration says about reading records. Own are
// this machine's addresses.
func RecordOptions(s *config.Setup, own []netip.Addr) oe.Options {
	d := &s.DNS
	return oe.Options{
		TXT: d.TXT, KEY: d.KEY, MaxRSA: d.MaxRSA, Own: own,
		AcceptInsecure: d.DNSSEC == config.DNSSECPrefer || d.DNSSEC == config.DNSSECOff,
	}
}
