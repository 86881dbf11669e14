package demo

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"
)

// Story is a Teller for people: it writes the timeline to Out as it happens
// and shows progress on standard error, if that is a terminal.
type Story struct {
	Out     io.Writer
	Verbose bool // show configuration files whole
	Still   bool // no progress on the terminal
}

// Begin implements Teller.
func (s *Story) Begin(sc *Scenario) {
	fmt.Fprintf(s.Out, "== %s: %s\n", sc.Name, sc.Title)
	if _, rest, ok := strings.Cut(sc.Doc, "\n"); ok {
		fmt.Fprintln(s.Out, rest)
	}
}

// File implements Teller.
func (s *Story) File(host, name, text string) {
	if !s.Verbose || strings.HasSuffix(name, ".secrets") {
		return
	}
	fmt.Fprintf(s.Out, "\n%s: %s\n%s", host, name, indent(text, "    | "))
}

// Caption implements Teller.
func (s *Story) Caption(text string) { fmt.Fprintf(s.Out, "\n%s\n", text) }

// Start implements Teller.
func (s *Story) Start(e Entry) Progress {
	if s.Still || !term.IsTerminal(int(os.Stderr.Fd())) {
		return func(_, _ int64) {}
	}
	return startBar("          " + e.Host + ": " + e.Do)
}

// Step implements Teller.
func (s *Story) Step(e Entry) {
	fmt.Fprintf(s.Out, "%7.2f s  %s: %s\n", e.At, e.Host, e.Do)
	if e.Output != "" {
		fmt.Fprint(s.Out, indent(e.Output, "             "))
	}
	if e.Error != "" {
		fmt.Fprintf(s.Out, "   FAILED    %s\n", e.Error)
	}
}

// End implements Teller.
func (s *Story) End(o *Outcome) {
	if len(o.Wires) > 0 {
		fmt.Fprint(s.Out, "\nWhat crossed the outer wires, from beginning to end:\n")
	}
	for _, w := range o.Wires {
		tcp := ""
		if w.InTCP > 0 {
			tcp = fmt.Sprintf(" in-TCP %-5d", w.InTCP)
		}
		fmt.Fprintf(s.Out, "    nic-%-5s IKE %-5d ESP %-7d ESP-in-UDP %-5d%s (%s protected)  other %d  in the clear %d\n",
			w.Wire, w.IKE, w.ESP, w.ESPinUDP, tcp, size(w.Protected), w.Other, w.Clear)
	}
	for _, t := range o.Eroutes {
		if t.Text != "" {
			fmt.Fprintf(s.Out, "Eroutes of %s:\n%s", t.Host, indent(t.Text, "    "))
		}
	}
	for _, t := range o.Transfers {
		fmt.Fprintf(s.Out, "Throughput %s to %s: %.0f Mbit/s\n", t.From, t.To, t.Mbps)
	}
	hosts := make([]string, 0, len(o.Logs))
	for h := range o.Logs {
		hosts = append(hosts, h)
	}
	slices.Sort(hosts)
	for _, h := range hosts {
		fmt.Fprintf(s.Out, "Log of %s:\n%s", h, indent(o.Logs[h], "    "))
	}
	if o.Skipped != "" {
		fmt.Fprintf(s.Out, "%s: skipped: %s\n\n", o.Scenario, o.Skipped)
	} else if o.OK {
		fmt.Fprintf(s.Out, "%s: passed in %.1f s\n\n", o.Scenario, o.Took)
	} else {
		fmt.Fprintf(s.Out, "%s: FAILED: %s\n\n", o.Scenario, o.Error)
	}
}

func indent(text, by string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(by + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}

// size is a number of octets in words.
func size(n uint64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d octets", n)
}
