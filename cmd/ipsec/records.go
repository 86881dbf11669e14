package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"cygnet/internal/oe"
	"cygnet/internal/rawkey"
)

const defaultPrecedence = 10

// recordOrder says which record to print, and where it shall stand.
type recordOrder struct {
	gateway    string
	owner      string
	precedence int
	wildcard   bool
}

func (o recordOrder) check() error {
	if o.precedence < 0 || o.precedence > 255 {
		return fmt.Errorf("precedence must be 0 to 255, not %d", o.precedence)
	}
	if o.wildcard && o.owner == "" {
		return fmt.Errorf("--wildcard needs --owner with a prefix")
	}
	return nil
}

// owners are the names at which records shall stand; none if none is given.
func (o recordOrder) owners() ([]string, error) {
	if o.owner == "" {
		return nil, nil
	}
	if p, err := netip.ParsePrefix(o.owner); err == nil {
		return oe.Owners(p, o.wildcard)
	}
	if o.wildcard {
		return nil, fmt.Errorf("--wildcard needs a prefix as --owner, not %q", o.owner)
	}
	if a, err := netip.ParseAddr(o.owner); err == nil {
		return []string{oe.ReverseName(a)}, nil
	}
	name := strings.TrimPrefix(o.owner, "@")
	if rawkey.CheckGateway("@"+name) != nil {
		return nil, fmt.Errorf("owner must be a host name, an address or a prefix, not %q", o.owner)
	}
	return []string{oe.Name(name)}, nil
}

// printTXT prints the TXT record of freeswan.md 4.18. Without owner it is a line
// to follow another one of the same name, such as the PTR.
func (k hostKey) printTXT(out io.Writer, o recordOrder) error {
	if err := o.check(); err != nil {
		return err
	}
	record, err := rawkey.TXTRecord(uint16(o.precedence), o.gateway, k.public)
	if err != nil {
		return err
	}
	owners, err := o.owners()
	if err != nil {
		return err
	}
	if owners == nil {
		owners = []string{""}
	}
	fmt.Fprintf(out, "; %s\n", k.about())
	for _, owner := range owners {
		if _, err := fmt.Fprintf(out, "%s%s\n", owner, record); err != nil {
			return err
		}
	}
	return nil
}

// printIPSECKEY prints records of RFC 4025. They stand at the gateway's own
// reverse name unless --owner says otherwise.
func (k hostKey) printIPSECKEY(out io.Writer, o recordOrder) error {
	if err := o.check(); err != nil {
		return err
	}
	owners, err := o.owners()
	if err != nil {
		return err
	}
	if owners == nil {
		owners = []string{oe.Name(k.host())}
		if a, err := netip.ParseAddr(o.gateway); err == nil {
			owners = []string{oe.ReverseName(a)}
		}
	}
	fmt.Fprintf(out, "; %s\n", k.about())
	for _, owner := range owners {
		record, err := rawkey.IPSECKEYRecord(owner, uint8(o.precedence), o.gateway, k.public)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, record); err != nil {
			return err
		}
	}
	return nil
}

func (k hostKey) printKEY(out io.Writer, o recordOrder) error {
	owners, err := o.owners()
	if err != nil {
		return err
	}
	if owners == nil {
		owners = []string{k.host()}
	}
	fmt.Fprintf(out, "; %s\n", k.about())
	for _, owner := range owners {
		record, err := rawkey.KEYRecord(owner, k.public)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, record); err != nil {
			return err
		}
	}
	return nil
}
