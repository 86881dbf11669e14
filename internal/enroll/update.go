package enroll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// TSIG is a key for updates, RFC 8945.
type TSIG struct {
	Name, Algorithm string // absolute
	secret          string // base64
}

// ParseTSIG reads a key as BIND's tsig-keygen and Knot's keymgr write it:
//
//	key "name" { algorithm hmac-sha256; secret "base64"; };
func ParseTSIG(text string) (TSIG, error) {
	words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n{};\"", r) })
	var k TSIG
	for i := 0; i+1 < len(words); i += 2 {
		switch v := words[i+1]; words[i] {
		case "key":
			k.Name = dns.CanonicalName(v)
		case "algorithm":
			k.Algorithm = dns.CanonicalName(v)
		case "secret":
			k.secret = v
		default:
			return TSIG{}, errors.New(`not a key file: key "name" { algorithm hmac-sha256; secret "..."; };`)
		}
	}
	switch k.Algorithm {
	case dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512:
	default:
		return TSIG{}, errors.New("the key's algorithm is none of hmac-sha256, hmac-sha384 and hmac-sha512")
	}
	if k.Name == "" || k.secret == "" {
		return TSIG{}, errors.New("the key file has no name or no secret")
	}
	return k, nil
}

// Updater changes the records of a zone.
type Updater struct {
	Server string // address and port of the primary
	Zone   string // absolute
	Key    TSIG
}

// maxPerUpdate keeps a message well below 64 kB: an RSA key of 4096 bits takes
// 600 octets.
const maxPerUpdate = 50

// Publish replaces the IPSECKEY records of owners by the lines, which Records
// made for the same member. Doing it again changes nothing.
func (u Updater) Publish(ctx context.Context, owners, lines []string) error {
	rrs := make([]dns.RR, len(lines))
	for i, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			return fmt.Errorf("record for the update: %w", err)
		}
		rr.Header().Ttl = recordTTL
		rrs[i] = rr
	}
	return u.each(ctx, owners, func(m *dns.Msg, i int) { m.Insert(rrs[i : i+1]) })
}

// recordTTL is how long others keep a record, in seconds: how long a key that
// was lost does harm.
const recordTTL = 3600

// Withdraw removes the IPSECKEY records of owners.
func (u Updater) Withdraw(ctx context.Context, owners []string) error {
	return u.each(ctx, owners, func(*dns.Msg, int) {})
}

// each removes what is there and does more, for some owners in one message.
func (u Updater) each(ctx context.Context, owners []string, more func(m *dns.Msg, i int)) error {
	for from := 0; from < len(owners); from += maxPerUpdate {
		m := new(dns.Msg).SetUpdate(dns.CanonicalName(u.Zone))
		for i := from; i < min(from+maxPerUpdate, len(owners)); i++ {
			m.RemoveRRset([]dns.RR{&dns.IPSECKEY{Hdr: dns.RR_Header{Name: owners[i], Rrtype: dns.TypeIPSECKEY, Class: dns.ClassINET}}})
			more(m, i)
		}
		if err := u.send(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

func (u Updater) send(ctx context.Context, m *dns.Msg) error {
	server := u.Server
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(server, "53")
	}
	const fudge = 300 // seconds that clocks may differ
	m.SetTsig(u.Key.Name, u.Key.Algorithm, fudge, time.Now().Unix())
	c := &dns.Client{Net: "tcp", Timeout: 10 * time.Second, TsigSecret: map[string]string{u.Key.Name: u.Key.secret}}
	answer, _, err := c.ExchangeContext(ctx, m, server)
	if err != nil {
		return fmt.Errorf("update of %s at %s: %w", u.Zone, server, err)
	}
	if answer.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("update of %s at %s: refused with %s", u.Zone, server, dns.RcodeToString[answer.Rcode])
	}
	return nil
}
