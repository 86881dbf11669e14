package demo

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"cygnet/internal/lab"
)

// Progress is told how much of a step is done; total is -1 where that is not
// known, and done is -1 when the step has ended.
type Progress func(done, total int64)

// act carries out one step and returns what it printed or measured.
//
//	HOST: ipsec ARG...                 the ipsec command, on a gateway
//	HOST: sh COMMAND                   anything else, by the shell of this machine
//	HOST: ping TARGET [from ADDR]      answered, three times of three; {1..9} in
//	                                   an address: each of them, once
//	HOST: ping TARGET [from ADDR] once   a single request, answered: of those that
//	                                   wait for a tunnel, only the first and the
//	                                   newest are kept
//	HOST: ping TARGET [from ADDR] until answered   within a minute
//	HOST: no ping TARGET [from ADDR]   never answered
//	HOST: keep pinging TARGET          in the background, 20 a second
//	HOST: stop pinging TARGET, none lost    (or: at most N lost)
//	HOST: send N MB to TARGET          a file by TCP, compared at the end
//	HOST: route NET by DEV             the routing table says so
//	HOST: no route NET
//	HOST: kill pluto                   as a crash would
//	HOST: wait SECONDS                 only where time itself is the subject
//	wire: …                            see wire.go
func (x *run) act(ctx context.Context, s step, progress Progress) (string, error) {
	if s.host == "wire" {
		return x.judge(s.words)
	}
	h, err := x.host(s.host)
	if err != nil {
		return "", err
	}
	w := s.words
	switch {
	case w[0] == "ipsec":
		return x.ipsec(ctx, s)
	case w[0] == "sh" && len(w) >= 2:
		return x.shell(ctx, h, s)
	case w[0] == "ping" && strings.Contains(s.text(), "{"):
		return x.pingEach(ctx, h, w[1:])
	case w[0] == "ping" && len(w) >= 2:
		return x.ping(ctx, h, w[1:])
	case w[0] == "no" && len(w) >= 3 && w[1] == "ping":
		return x.noPing(ctx, h, w[2:])
	case w[0] == "keep" && len(w) == 3:
		return x.keepPinging(h, w[2])
	case w[0] == "stop" && len(w) >= 4:
		return x.stopPinging(h, strings.TrimSuffix(w[2], ","), w[3:])
	case w[0] == "send" && len(w) == 5:
		return x.send(ctx, h, w[1], w[4], progress)
	case w[0] == "route" && len(w) == 4:
		return x.route(h, w[1], w[3])
	case w[0] == "no" && len(w) == 3 && w[1] == "route":
		return x.route(h, w[2], "")
	case s.text() == "kill pluto" && x.gateways[s.host] != nil:
		return "", x.gateways[s.host].KillPluto()
	case w[0] == "wait" && len(w) == 2:
		return wait(ctx, w[1])
	}
	return "", fmt.Errorf("step not understood")
}

func (x *run) ipsec(ctx context.Context, s step) (string, error) {
	g := x.gateways[s.host]
	if g == nil {
		var err error
		if g, err = lab.NewGateway(x.lab.Host(s.host), x.Binary); err != nil {
			return "", err
		}
		x.gateways[s.host] = g
	}
	return s.command(ctx, func() (lab.Result, error) { return g.Ipsec(ctx, s.words[1:]...) })
}

// shell runs the words of the step as a command line. On a gateway, ipsec is
// our command there, and $IPSEC_CONFS its directory of configuration files.
// What prepare has found is in the environment.
func (x *run) shell(ctx context.Context, h *lab.Host, s step) (string, error) {
	var env []string
	if g := x.gateways[s.host]; g != nil {
		bin, err := g.CommandDir()
		if err != nil {
			return "", err
		}
		env = append(g.Env(), "PATH="+bin+":"+os.Getenv("PATH"))
	}
	for _, name := range slices.Sorted(maps.Keys(x.vars)) {
		env = append(env, name+"="+x.vars[name])
	}
	line := strings.TrimSpace(strings.TrimPrefix(s.raw, "sh"))
	return s.command(ctx, func() (lab.Result, error) { return h.Run(ctx, env, "/bin/sh", "-c", line) })
}

// command runs a command until it does what the step expects: once, or for as
// long as the step allows.
func (s step) command(ctx context.Context, run func() (lab.Result, error)) (string, error) {
	for end := time.Now().Add(s.within); ; {
		r, err := run()
		if err != nil {
			return "", err
		}
		output := r.Output()
		if s.keep != "" {
			output = r.Stdout
		}
		if err = s.check(r.Exit, output); err == nil || time.Now().After(end) {
			return output, err
		}
		if _, err := wait(ctx, "0.2"); err != nil {
			return "", err
		}
	}
}

// echo reads "TARGET [from ADDR]".
func (x *run) echo(w []string) (lab.Echo, error) {
	dst, err := x.target(w[0])
	if err != nil {
		return lab.Echo{}, err
	}
	e := lab.Echo{Dst: dst, Count: 3, Interval: 50 * time.Millisecond}
	if len(w) >= 3 && w[1] == "from" { // otherwise as routing has it
		e.Src, err = x.target(w[2])
	}
	return e, err
}

func (x *run) ping(ctx context.Context, h *lab.Host, w []string) (string, error) {
	e, err := x.echo(w)
	if err != nil {
		return "", err
	}
	if strings.HasSuffix(strings.Join(w, " "), " until answered") {
		return x.pingUntil(ctx, h, e)
	}
	if w[len(w)-1] == "once" {
		e.Count, e.Wait = 1, 5*time.Second
	}
	r, err := h.Ping(ctx, e)
	if err != nil {
		return "", err
	}
	if r.Received != r.Sent {
		return "", fmt.Errorf("%d of %d answered", r.Received, r.Sent)
	}
	return fmt.Sprintf("%d of %d answered, round trip %.2f ms", r.Received, r.Sent, ms(r.Mean())), nil
}

// pingEach sends one request to every address of the range TARGET, from every
// address of the range ADDR, all at a time.
func (x *run) pingEach(ctx context.Context, h *lab.Host, w []string) (string, error) {
	to, err := expand(w[0])
	if err != nil {
		return "", err
	}
	from := []string{""}
	if len(w) == 3 && w[1] == "from" {
		if from, err = expand(w[2]); err != nil {
			return "", err
		}
	}
	var pingers []*lab.Pinger
	var missing []string
	for _, src := range from {
		for _, dst := range to {
			e, err := x.echo(strings.Fields(dst + " from " + src))
			if err != nil {
				return "", err
			}
			e.Count, e.Wait = 1, 5*time.Second
			p, err := h.StartPing(e)
			if err != nil {
				return "", err
			}
			pingers = append(pingers, p)
		}
	}
	for _, p := range pingers {
		if r := p.Stop(); r.Received != 1 {
			missing = append(missing, fmt.Sprintf("%s from %s", p.Dst, p.Src))
		}
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("%d of %d not answered: %s", len(missing), len(pingers), strings.Join(missing, ", "))
	}
	return fmt.Sprintf("%d of %d answered", len(pingers), len(pingers)), ctx.Err()
}

func (x *run) pingUntil(ctx context.Context, h *lab.Host, e lab.Echo) (string, error) {
	start := time.Now()
	e.Count, e.Wait = 1, 300*time.Millisecond
	for time.Since(start) < time.Minute {
		r, err := h.Ping(ctx, e)
		if err != nil {
			return "", err
		}
		if r.Received == 1 {
			return fmt.Sprintf("answered after %.1f s", time.Since(start).Seconds()), nil
		}
	}
	return "", fmt.Errorf("not answered for %.0f s", time.Since(start).Seconds())
}

func (x *run) noPing(ctx context.Context, h *lab.Host, w []string) (string, error) {
	e, err := x.echo(w)
	if err != nil {
		return "", err
	}
	r, err := h.Ping(ctx, e)
	if err != nil {
		return "", err
	}
	if r.Received > 0 {
		return "", fmt.Errorf("%d of %d answered, but none should be", r.Received, r.Sent)
	}
	return fmt.Sprintf("%d requests, no answer, as it should be", r.Sent), nil
}

func (x *run) keepPinging(h *lab.Host, to string) (string, error) {
	dst, err := x.target(to)
	if err != nil {
		return "", err
	}
	p, err := h.StartPing(lab.Echo{Dst: dst, Interval: 50 * time.Millisecond})
	if err != nil {
		return "", err
	}
	x.pingers[h.Name+" "+to] = p
	x.lab.Defer(func() error { p.Stop(); return nil })
	return "", nil
}

// stopPinging reads "none lost" or "at most N lost".
func (x *run) stopPinging(h *lab.Host, to string, w []string) (string, error) {
	p := x.pingers[h.Name+" "+to]
	if p == nil {
		return "", fmt.Errorf("nobody pings %s from %s", to, h.Name)
	}
	limit := 0
	if w[0] != "none" {
		n, err := strconv.Atoi(w[len(w)-2])
		if err != nil {
			return "", fmt.Errorf("%q is not a number", w[len(w)-2])
		}
		limit = n
	}
	r := p.Stop()
	text := fmt.Sprintf("%d of %d answered, at most %d missing in a row", r.Received, r.Sent, r.LongestGap)
	if r.Lost() > limit {
		return "", fmt.Errorf("%s", text)
	}
	return text, nil
}

func (x *run) send(ctx context.Context, h *lab.Host, megabytes, to string, progress Progress) (string, error) {
	n, err := strconv.ParseInt(megabytes, 10, 32)
	if err != nil {
		return "", fmt.Errorf("%q is not a number of megabytes", megabytes)
	}
	dst, err := x.target(to)
	if err != nil {
		return "", err
	}
	receiver := x.owner(to)
	if receiver == nil {
		return "", fmt.Errorf("no host has the address %s", to)
	}
	size := n * 1e6
	t, err := h.Send(ctx, receiver, dst, size, func(sent int64) { progress(sent, size) })
	if err != nil {
		return "", err
	}
	x.outcome.Transfers = append(x.outcome.Transfers, Throughput{h.Name, to, t.Bytes, t.Duration.Seconds(), t.Mbps()})
	return fmt.Sprintf("%d MB in %.2f s, %.0f Mbit/s, content compared", n, t.Duration.Seconds(), t.Mbps()), nil
}

// owner is the host with that name or extra address.
func (x *run) owner(word string) *lab.Host {
	if h := x.lab.Host(word); h != nil {
		return h
	}
	for _, a := range x.scenario.addrs {
		if a.addr.Addr().String() == word {
			return x.lab.Host(a.host)
		}
	}
	return nil
}

// route checks that the route of exactly that prefix leaves by dev; "" means
// that there must be none.
func (x *run) route(h *lab.Host, prefix, dev string) (string, error) {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		return "", err
	}
	got, err := h.RouteDevice(p)
	switch {
	case err != nil:
		return "", err
	case got == dev:
		return "", nil
	case got == "":
		return "", fmt.Errorf("there is no such route")
	}
	return "", fmt.Errorf("it leaves by %s", got)
}

func wait(ctx context.Context, seconds string) (string, error) {
	n, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return "", fmt.Errorf("%q is not a number of seconds", seconds)
	}
	select {
	case <-time.After(time.Duration(n * float64(time.Second))):
		return "", nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
