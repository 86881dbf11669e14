package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cygnet/internal/lab"
)

// wire is the outer link of one gateway, watched at nic.
type wire struct {
	name    string // the gateway's
	capture *lab.Capture
	judged  lab.Counts // at the last wire step
	open    bool       // a step has allowed clear traffic on it
}

// watch starts a capture on every link of nic.
func (x *run) watch() error {
	nic := x.lab.Host("nic")
	for _, name := range []string{"west", "east", "road", "road2", "road3", "north"} {
		if !nic.HasLink(name) {
			continue
		}
		c, err := x.lab.Capture(nic, name, x.inside(), x.captureFile(name))
		if err != nil {
			return err
		}
		x.wires = append(x.wires, &wire{name: name, capture: c})
	}
	return nil
}

// unwatch ends the captures, so that their files are whole.
func (x *run) unwatch() error {
	var errs []error
	for _, v := range x.wires {
		errs = append(errs, v.capture.Close())
	}
	return errors.Join(errs...)
}

// judge carries out a wire step. It looks at what crossed since the wire step
// before, at every watched link or, with "at NAME", at one:
//
//	wire: [at NAME] only IKE and ESP   nothing else crossed, and some of it did at one of them
//	wire: [at NAME] nothing clear      no inner address, nothing readable
//	wire: [at NAME] no ESP             nothing protected crossed
//	wire: [at NAME] no IKE             nothing was negotiated
//	wire: [at NAME] no UDP             no ESP in UDP crossed
//	wire: [at NAME] only TCP           IKE and ESP in TCP (RFC 9329), and nothing else
//	wire: [at NAME] may be clear       clear packets are no failure here, for the rest of the scenario
func (x *run) judge(w []string) (string, error) {
	wires := x.wires
	if len(w) > 2 && w[0] == "at" {
		wires = slices.DeleteFunc(slices.Clone(wires), func(v *wire) bool { return v.name != w[1] })
		w = w[2:]
	}
	rule := strings.Join(w, " ")
	if len(wires) == 0 {
		return "", fmt.Errorf("no such wire")
	}
	var lines []string
	var ours uint64
	for _, v := range wires {
		now, err := v.capture.Counts()
		if err != nil {
			return "", err
		}
		since := now.Sub(v.judged)
		v.judged = now
		if err := v.rule(rule, since); err != nil {
			return "", err
		}
		ours += since.Protected() + since.Frames[lab.IKE] + since.Frames[lab.InTCP]
		lines = append(lines, fmt.Sprintf("%-5s %s", v.name, summary(since)))
	}
	if rule == "only IKE and ESP" && ours == 0 {
		return "", errors.New("nothing crossed")
	}
	return strings.Join(lines, "\n"), nil
}

func (v *wire) rule(rule string, c lab.Counts) error {
	switch rule {
	case "only IKE and ESP":
		if c.Foreign() > 0 {
			return fmt.Errorf("other packets crossed at %s: %v", v.name, v.capture.Suspects())
		}
	case "nothing clear":
		if c.Frames[lab.Clear] > 0 {
			return fmt.Errorf("clear packets at %s: %v", v.name, v.capture.Suspects())
		}
	case "no ESP":
		if c.Protected() > 0 {
			return fmt.Errorf("%d protected packets crossed at %s", c.Protected(), v.name)
		}
	case "no IKE":
		if c.Frames[lab.IKE] > 0 {
			return fmt.Errorf("%d messages of IKE crossed at %s", c.Frames[lab.IKE], v.name)
		}
	case "no UDP":
		if c.Frames[lab.ESPinUDP] > 0 {
			return fmt.Errorf("%d packets of ESP in UDP crossed at %s", c.Frames[lab.ESPinUDP], v.name)
		}
	case "only TCP":
		if other := c.Foreign() + c.Protected() + c.Frames[lab.IKE] + c.Frames[lab.KeepAlive]; other > 0 || c.Frames[lab.InTCP] == 0 {
			return fmt.Errorf("at %s crossed %s", v.name, summary(c))
		}
	case "may be clear":
		v.open = true
	default:
		return fmt.Errorf("rule %q not understood", rule)
	}
	return nil
}

// summary is what crossed, in words; what is zero is left out, except ESP and
// clear packets.
func summary(c lab.Counts) string {
	var parts []string
	for _, k := range []lab.Kind{lab.IKE, lab.ESP, lab.ESPinUDP, lab.InTCP, lab.KeepAlive, lab.AH, lab.Link, lab.Other, lab.Clear} {
		if c.Frames[k] > 0 || k == lab.Clear {
			parts = append(parts, fmt.Sprintf("%s %d", k, c.Frames[k]))
		}
	}
	if c.Lost > 0 {
		parts = append(parts, fmt.Sprintf("missed by the capture %d", c.Lost))
	}
	return strings.Join(parts, ", ")
}

// prove closes a scenario: whatever its steps looked at, nothing may have
// crossed an outer wire in the clear from beginning to end.
func (x *run) prove(ctx context.Context) error {
	for _, v := range x.wires {
		c, err := v.capture.Counts()
		if err != nil {
			return err
		}
		x.outcome.Wires = append(x.outcome.Wires, crossed(v.name, c))
		if c.Frames[lab.Clear] > 0 && !v.open {
			return fmt.Errorf("clear packets at %s: %v", v.name, v.capture.Suspects())
		}
		if c.Lost > 0 {
			return fmt.Errorf("the capture at %s missed %d packets, so it proves nothing", v.name, c.Lost)
		}
	}
	for _, name := range x.scenario.gateways() {
		g := x.gateways[name]
		if g.PlutoPid() == 0 {
			continue
		}
		r, err := g.Ipsec(ctx, "eroute")
		if err != nil {
			return err
		}
		if r.Exit == 0 {
			x.outcome.Eroutes = append(x.outcome.Eroutes, Table{name, strings.TrimRight(r.Stdout, "\n")})
		}
	}
	return nil
}

func crossed(name string, c lab.Counts) Crossed {
	return Crossed{
		Wire: name, IKE: c.Frames[lab.IKE], ESP: c.Frames[lab.ESP], ESPinUDP: c.Frames[lab.ESPinUDP], InTCP: c.Frames[lab.InTCP],
		Protected: c.Bytes[lab.ESP] + c.Bytes[lab.ESPinUDP] + c.Bytes[lab.InTCP], Link: c.Frames[lab.Link] + c.Frames[lab.KeepAlive],
		Other: c.Frames[lab.Other], Clear: c.Frames[lab.Clear],
	}
}
