package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/oe"
	"cygnet/internal/rawkey"
	"cygnet/internal/resolve"
	"cygnet/internal/whack"
)

// newOE is the parent of commands about opportunistic encryption.
func newOE() *cobra.Command {
	c := &cobra.Command{
		Use:   "oe check HOST | oe captive on|off",
		Short: "Explain what opportunistic encryption with a host would come to; bear with a captive portal",
		RunE: func(*cobra.Command, []string) error {
			return fail(whack.ExitUsage, "what is wanted? `ipsec oe check HOST'; `ipsec policy' shows what there is now")
		},
	}
	c.AddCommand(newOECheck(), newOECaptive())
	return c
}

func newOECheck() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check HOST|ADDRESS",
		Short: "Explain, step by step, what a first packet to a host would lead to",
		Long: `check asks the DNS what the daemon would ask when a packet for HOST is held: who
may speak for it, and with which key. It prints each question with its answer,
what each record says or why it does not count, which gateways would be called
in which order, and what remains if nothing can be used. Nothing is sent to the
host itself. The exit code is 0 if there is a gateway to call.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, opts, err := openDNS(where())
			if err != nil {
				return fail(whack.ExitConfig, "%w", err)
			}
			defer r.Close()
			x := &explainer{r: r, opts: opts}
			e, err := x.explain(cmd.Context(), args[0])
			if err != nil {
				return fail(whack.ExitFailed, "%w", err)
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), e)
			} else {
				e.print(cmd.OutOrStdout())
			}
			if err == nil && !e.Reachable {
				return ended(whack.ExitFailed)
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// explainer asks and explains.
type explainer struct {
	r    *resolve.Resolver
	opts oe.Options
}

// explanation is what `oe check' found.
type explanation struct {
	Version   int      `json:"version"`
	Host      string   `json:"host"`
	Resolver  string   `json:"resolver"`
	Reachable bool     `json:"reachable"`
	Paths     []oePath `json:"addresses"`
}

// oePath is what a packet to one address would lead to.
type oePath struct {
	Address  string        `json:"address"`
	Steps    []oeStep      `json:"steps"`
	Ignored  []string      `json:"ignored,omitempty"`
	Gateways []oeCandidate `json:"gateways,omitempty"`
	Cause    string        `json:"cause"`
	Why      string        `json:"why,omitempty"`
	Expires  time.Time     `json:"expires,omitzero"`
}

type oeStep struct {
	Question string   `json:"question"`
	Security string   `json:"security"`
	Records  []string `json:"records,omitempty"`
	Note     string   `json:"note,omitempty"`
}

type oeCandidate struct {
	Address string   `json:"address"`
	Names   []string `json:"names,omitempty"`
	Keys    []string `json:"keys"`
	Level   string   `json:"level"`
}

func (x *explainer) explain(ctx context.Context, host string) (*explanation, error) {
	e := &explanation{Version: 1, Host: host, Resolver: "answers of the resolver can be trusted"}
	short, cancel := context.WithTimeout(ctx, dnsWait)
	if v := x.r.Validates(short); !v.Validates {
		e.Resolver = "answers cannot be trusted: " + v.Why
	}
	cancel()
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, a)
	} else if addrs = (&dnsCheck{r: x.r}).addresses(ctx, host); len(addrs) == 0 {
		return nil, fmt.Errorf("%s has no address in the DNS", host)
	}
	for _, a := range addrs {
		p, err := x.path(ctx, a)
		if err != nil {
			return nil, err
		}
		e.Paths = append(e.Paths, p)
		e.Reachable = e.Reachable || len(p.Gateways) > 0
	}
	return e, nil
}

func (x *explainer) path(ctx context.Context, a netip.Addr) (oePath, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsWait)
	defer cancel()
	f := resolve.Ask(ctx, x.r, oe.Gateways(a, x.opts))
	p := oePath{Address: a.String(), Ignored: f.Ignored, Cause: f.Cause.String(), Why: f.Why, Expires: f.Expires}
	for _, s := range f.Steps {
		p.Steps = append(p.Steps, x.step(s))
	}
	found, err := f.Candidates(rand.Reader)
	for _, g := range found {
		c := oeCandidate{Address: g.Addr.String(), Names: g.Names, Level: g.Level.String()}
		for _, k := range g.Keys {
			c.Keys = append(c.Keys, rawkey.Describe(k)+" "+rawkey.KeyID(k))
		}
		p.Gateways = append(p.Gateways, c)
	}
	return p, err
}

// step tells one question, its answer, and what the records in it say.
func (x *explainer) step(s oe.Step) oeStep {
	out := oeStep{Question: s.Query.String(), Security: s.Answer.Security.String(), Note: s.Answer.Why}
	if !s.Answer.Found {
		if s.Answer.Security >= oe.Insecure {
			out.Note = strings.TrimSpace("no record " + out.Note)
		}
		return out
	}
	for _, raw := range s.Answer.Raw {
		out.Records = append(out.Records, x.record(s.Query.Type, raw))
	}
	return out
}

func (x *explainer) record(rrtype uint16, raw []byte) string {
	if a, ok := netip.AddrFromSlice(raw); ok && (rrtype == oe.TypeA || rrtype == oe.TypeAAAA) {
		return a.String()
	}
	rec, err := oe.ParseRecord(rrtype, raw, x.opts.MaxRSA)
	if err != nil {
		return err.Error()
	}
	key := "no key: it is at the gateway's own name"
	if rec.Key != nil {
		key = rawkey.Describe(rec.Key) + " " + rawkey.KeyID(rec.Key)
	}
	gw := rec.Gateway.String()
	if rec.Gateway.Self() {
		gw = "itself"
	}
	return fmt.Sprintf("gateway %s, precedence %d, %s", gw, rec.Precedence, key)
}

func (e *explanation) print(out io.Writer) {
	fmt.Fprintln(out, e.Resolver)
	for _, p := range e.Paths {
		fmt.Fprintf(out, "A packet for %s is held, and the DNS is asked:\n", p.Address)
		for _, s := range p.Steps {
			fmt.Fprintf(out, "  %s?  %s%s\n", s.Question, s.Security, because(s.Note))
			for _, r := range s.Records {
				fmt.Fprintf(out, "    %s\n", r)
			}
		}
		for _, why := range p.Ignored {
			fmt.Fprintf(out, "  passed over: %s\n", why)
		}
		p.outcome(out)
	}
}

func (p oePath) outcome(out io.Writer) {
	if len(p.Gateways) == 0 {
		fmt.Fprintf(out, "Nobody is called (%s): %s.\n%s", p.Cause, p.Why, fates(p.Cause))
		return
	}
	for n, g := range p.Gateways {
		fmt.Fprintf(out, "%d. IKE goes to %s, who must prove %s. Level %s.\n", n+1, g.Address, strings.Join(g.Keys, " or "), g.Level)
	}
	fmt.Fprintln(out, "When that tunnel is up the packet is sent through it.")
}

// fates is what becomes of the packet by its group, opportunistic.md 4.6.
func fates(cause string) string {
	word := "sent in the clear"
	if cause == oe.CauseBogus.String() || cause == oe.CauseMalformed.String() {
		word = "blocked, for who forges answers could otherwise switch encryption off"
	}
	return fmt.Sprintf("In private the packet is blocked, in private-or-clear it is %s.\n", word)
}
