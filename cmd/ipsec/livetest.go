package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/oe"
	"cygnet/internal/whack"
)

// liveOrder is what livetest was asked for.
type liveOrder struct {
	peer         string
	port         uint16
	serve, quick bool
	asJSON       bool
}

func newLivetest() *cobra.Command {
	var o liveOrder
	c := &cobra.Command{
		Use:   "livetest --peer HOST [--quick] [--json] | livetest --serve",
		Short: "Try opportunistic encryption with a peer, step by step",
		Long: `livetest goes all the way to a peer on which ` + "`ipsec livetest --serve'" + ` runs: the
resolver, this machine's own record, the peer's record, IKE, then a datagram that
makes the daemon negotiate. It must come back from the peer, as must larger ones,
and the daemon must say that it went through a tunnel. There is no default peer,
nothing is uploaded, and nothing is stopped. --quick leaves the traffic out.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.serve == (o.peer != ""):
				return fail(whack.ExitUsage, "either --peer HOST, or --serve on that host")
			case o.serve:
				return serveEcho(cmd.Context(), o.port)
			}
			return o.run(cmd)
		},
	}
	f := c.Flags()
	f.StringVar(&o.peer, "peer", "", "host name or address of the other end")
	f.BoolVar(&o.serve, "serve", false, "be the other end, until told to end")
	f.Uint16Var(&o.port, "port", livePort, "UDP port of the echo")
	f.BoolVar(&o.quick, "quick", false, "look at the DNS and at IKE only")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return c
}

const (
	livePort = 8500
	liveWait = 6 * time.Second // for the first datagram, which waits for the tunnel
)

func (o *liveOrder) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	r, opts, err := openDNS(where())
	if err != nil {
		return fail(whack.ExitConfig, "%w", err)
	}
	defer r.Close()
	c := &dnsCheck{r: r, opts: opts, show: func(f finding) {
		if !o.asJSON {
			printFinding(cmd.OutOrStdout(), f, false)
		}
	}}
	fine := c.validates(ctx, r) && o.walk(ctx, c)
	if o.asJSON {
		if err := printJSON(cmd.OutOrStdout(), verified{1, c.all}); err != nil {
			return err
		}
	}
	if !fine {
		return ended(whack.ExitFailed)
	}
	return nil
}

// walk goes from the DNS to the peer; the first thing that fails ends it, for
// what comes after rests on it.
func (o *liveOrder) walk(ctx context.Context, c *dnsCheck) bool {
	peer, err := o.address(ctx, c)
	if !c.ok(err == nil, "Peer "+o.peer+" has an address", verdictMissing, fmt.Sprint(err)) {
		return false
	}
	o.ownRecord(ctx, c, peer)
	gateways, ok := c.addr(ctx, peer)
	if !ok {
		return false
	}
	gw := gateways[0]
	for _, port := range []uint16{ikePort, natPort} {
		label := fmt.Sprintf("Gateway %s answers IKE on udp %d", gw, port)
		if !c.ok(answersIKE(ctx, netip.AddrPortFrom(gw, port), ikeWait), label, verdictFailed, "a firewall on the way, or no daemon there") {
			return false
		}
	}
	if o.quick {
		return true
	}
	return o.traffic(ctx, c, netip.AddrPortFrom(peer, o.port))
}

func (o *liveOrder) address(ctx context.Context, c *dnsCheck) (netip.Addr, error) {
	if a, err := netip.ParseAddr(o.peer); err == nil {
		return a, nil
	}
	addrs := c.addresses(ctx, o.peer)
	if len(addrs) == 0 {
		return netip.Addr{}, errors.New("the DNS has none")
	}
	return addrs[0], nil
}

// ownRecord says whether the peer can know us: without a record of our own we
// are a stranger to it, whom it may still accept.
func (o *liveOrder) ownRecord(ctx context.Context, c *dnsCheck, peer netip.Addr) {
	own, err := findHostKey(where().secrets(), "")
	from := sourceFor(ctx, peer)
	if err != nil || !from.IsValid() {
		return
	}
	f := c.find(ctx, oe.KeysOfAddr(from, c.opts))
	c.ok(f.Cause == oe.CauseNone && has(f.Offers, own.public), fmt.Sprintf("Our own record at %s has our key", oe.ReverseName(from)), verdictWarn, f.Why)
}

// sourceFor is the address from which this machine would speak to another.
func sourceFor(ctx context.Context, peer netip.Addr) netip.Addr {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", netip.AddrPortFrom(peer, ikePort).String())
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	return netip.MustParseAddrPort(conn.LocalAddr().String()).Addr()
}

// traffic sends datagrams to the peer's echo and asks the daemon how they went.
func (o *liveOrder) traffic(ctx context.Context, c *dnsCheck, to netip.AddrPort) bool {
	began := time.Now()
	seen, err := echo(ctx, to, 64, liveWait)
	if !c.ok(err == nil, "The first datagram, which waits for the tunnel, comes back", verdictFailed, fmt.Sprint(err)) {
		return false
	}
	c.note(fmt.Sprintf("    after %d ms; the peer saw us at %s", time.Since(began).Milliseconds(), seen))
	if from := sourceFor(ctx, to.Addr()); from != seen.Addr() {
		c.say(finding{Label: "No NAT between us", Verdict: verdictWarn, Advice: []string{"we are " + from.String() + " and the peer sees " + seen.Addr().String()}})
	}
	ok, why := o.encrypted(ctx, to.Addr())
	fine := c.ok(ok, "It went through a tunnel", verdictFailed, why)
	for _, size := range []int{1400, 9000} {
		_, err := echo(ctx, to, size, ikeWait)
		fine = c.ok(err == nil, fmt.Sprintf("A datagram of %d octets comes back", size), verdictFailed, fmt.Sprint(err)) && fine
	}
	return fine
}

// encrypted asks the daemon what carries packets to an address.
func (o *liveOrder) encrypted(ctx context.Context, to netip.Addr) (bool, string) {
	final, err := whack.Ask(ctx, where().socket(), whack.Request{Op: whack.OpPolicy}, nil)
	if err != nil {
		return false, err.Error()
	}
	var p whack.Policy
	if err := json.Unmarshal(final.JSON, &p); err != nil {
		return false, err.Error()
	}
	for _, f := range p.Flows {
		if f.Dst == to {
			return f.State == "encrypted", strings.TrimSpace(f.State + " " + f.Cause + " " + f.Reason)
		}
	}
	return false, "opportunistic encryption has nothing to do with " + to.String()
}

// echo sends one datagram and waits until it comes back. The answer says who
// the other end saw.
func echo(ctx context.Context, to netip.AddrPort, size int, wait time.Duration) (netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", to.String())
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	sent := make([]byte, size)
	copy(sent, liveMagic)
	_, _ = rand.Read(sent[len(liveMagic):]) // never fails
	if _, err := conn.Write(sent); err != nil {
		return netip.AddrPort{}, err
	}
	buf := make([]byte, 65535)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("nothing came back: %w", err)
		}
		body, ok := bytes.CutSuffix(buf[:n], sent[len(liveMagic):])
		if seen, err := netip.ParseAddrPort(string(body)); ok && err == nil {
			return netip.AddrPortFrom(seen.Addr().Unmap(), seen.Port()), nil
		}
	}
}

// liveMagic begins what the echo answers: nothing else is.
const liveMagic = "cygnet livetest\n"

// serveEcho answers datagrams of livetest, with the sender's address in place of
// the first octets, until ctx ends. An answer is hardly longer than what was
// asked, so that nobody can be flooded by it.
func serveEcho(ctx context.Context, port uint16) error {
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp", ":"+strconv.Itoa(int(port)))
	if err != nil {
		return err
	}
	defer pc.Close()
	defer context.AfterFunc(ctx, func() { _ = pc.Close() })()
	buf := make([]byte, 65535)
	for {
		n, from, err := pc.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if body, ok := bytes.CutPrefix(buf[:n], []byte(liveMagic)); ok && len(body) >= 32 {
			_, _ = pc.WriteTo(append([]byte(from.String()), body...), from) // who cannot be reached does not matter
		}
	}
}
