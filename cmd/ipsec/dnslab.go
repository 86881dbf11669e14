package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/dns"
	"cygnet/internal/dnslab"
	"cygnet/internal/oe"
	"cygnet/internal/whack"
)

// newDnslab serves a signed DNS to demonstrations, which would otherwise need
// name servers of other packages.
func newDnslab() *cobra.Command {
	var d labServer
	var anchor, background bool
	c := &cobra.Command{
		Use:   "dnslab --key FILE [--anchor] [--listen ADDRESS] [--background] [--asked FILE] [ZONE.zone...]",
		Short: "Serve signed zones, for demonstrations and tests",
		Long: `dnslab signs zones, from the root down, and answers for all of them until it is
told to end. A zone is a file of records that is called as the zone is, and
".zone": 2.0.192.in-addr.arpa.zone; SOA, NS and all that DNSSEC needs are made.
A zone file that changes is read again. Whoever is to believe it trusts the key
of its root: --anchor makes that key and prints its DS record, which
dnssec-rootkey-file= in config setup names a file of.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if d.key == "" {
				return fail(whack.ExitUsage, "--key FILE says where the root's key is kept")
			}
			root, err := rootKey(d.key)
			if err != nil {
				return err
			}
			switch {
			case anchor:
				s, err := dnslab.New(nil, dnslab.Options{Root: root})
				if err != nil {
					return err
				}
				fmt.Fprint(cmd.OutOrStdout(), s.Anchor())
				return nil
			case background:
				return inBackground()
			}
			return d.serve(cmd.Context(), root, args)
		},
	}
	f := c.Flags()
	f.StringVar(&d.key, "key", "", "file of the root's private key; it is made if it is not there")
	f.StringVar(&d.listen, "listen", "127.0.0.1:53", "address, and port if not 53")
	f.StringVar(&d.asked, "asked", "", "file that gets a line for every question")
	f.BoolVar(&anchor, "anchor", false, "print the DS record of the root's key and end")
	f.BoolVar(&background, "background", false, "return when it answers, and go on")
	return c
}

type labServer struct{ key, listen, asked string }

// rootKey reads the seed of the root's key, or makes it.
func rootKey(file string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		seed := make([]byte, ed25519.SeedSize)
		_, _ = rand.Read(seed) // never fails
		text = []byte(hex.EncodeToString(seed))
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return nil, err
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s holds no key of dnslab", file)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// readyFD is closed by a server in the background when it answers.
const readyFD = 3

// inBackground starts this command again without --background and waits until
// it answers.
func inBackground() error {
	var args []string
	for _, a := range os.Args[1:] {
		if a != "--background" {
			args = append(args, a)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	c := exec.Command(self(), args...)
	c.ExtraFiles = []*os.File{w}
	c.Env = append(os.Environ(), "CYGNET_DNSLAB_READY=1")
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := errors.Join(c.Start(), w.Close()); err != nil {
		return err
	}
	said := make([]byte, 1)
	if _, err := r.Read(said); err != nil {
		return fmt.Errorf("dnslab did not start: %w", c.Wait())
	}
	return c.Process.Release()
}

func (d labServer) serve(ctx context.Context, root ed25519.PrivateKey, files []string) error {
	var zones []dnslab.Zone
	watch := &zoneFiles{seen: map[string]time.Time{}}
	for _, name := range files {
		zone, ok := strings.CutSuffix(filepath.Base(name), ".zone")
		if !ok {
			return fail(whack.ExitUsage, "%s is not called ZONE.zone", name)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		watch.add(zone, name)
		zones = append(zones, dnslab.Zone{Name: dns.Canonical(zone), Text: string(text)})
	}
	o := dnslab.Options{Root: root}
	if d.asked != "" {
		log, err := os.OpenFile(d.asked, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer log.Close()
		o.Asked = func(name string, rrtype uint16) { fmt.Fprintln(log, oe.Query{Name: name, Type: rrtype}) }
	}
	s, err := dnslab.New(zones, o)
	if err != nil {
		return err
	}
	listen := d.listen
	if !strings.Contains(listen, ":") {
		listen += ":53"
	}
	if _, err := s.Listen(listen); err != nil {
		return err
	}
	defer s.Close()
	if os.Getenv("CYGNET_DNSLAB_READY") != "" {
		ready := os.NewFile(readyFD, "ready")
		_, err := ready.Write([]byte{1})
		if err = errors.Join(err, ready.Close()); err != nil {
			return err
		}
	}
	return watch.follow(ctx, s)
}

// zoneFiles are looked at four times a second: a demonstration that changes one
// can ask for what is in it at once.
type zoneFiles struct {
	names [][2]string // zone and file
	seen  map[string]time.Time
}

func (z *zoneFiles) add(zone, file string) {
	z.names = append(z.names, [2]string{dns.Canonical(zone), file})
	z.changed(file)
}

func (z *zoneFiles) changed(file string) bool {
	info, err := os.Stat(file)
	if err != nil || info.ModTime().Equal(z.seen[file]) {
		return false
	}
	z.seen[file] = info.ModTime()
	return true
}

func (z *zoneFiles) follow(ctx context.Context, s *dnslab.Server) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, n := range z.names {
			if !z.changed(n[1]) {
				continue
			}
			text, err := os.ReadFile(n[1])
			if err == nil {
				err = s.Replace(n[0], string(text))
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "dnslab:", err)
			}
		}
	}
}
