package pluto

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"cygnet/internal/ike"
	"cygnet/internal/metrics"
)

// serveMetrics answers Prometheus where metrics= says. Without its port the daemon
// goes on: tunnels matter more than their figures.
func (d *Daemon) serveMetrics() {
	at := d.file.Setup.Metrics
	if !at.IsValid() {
		return
	}
	s, err := metrics.Serve(at, d.sample, slog.NewLogLogger(d.log.Handler(), slog.LevelWarn))
	if err != nil {
		d.log.Error(err.Error())
		return
	}
	d.log.Info("serving metrics on http://" + s.Addr().String() + "/metrics")
	d.exporter = s
}

var errNoAnswer = errors.New("the daemon does not answer")

// sample has the loop take a sample, as whack has it do everything.
func (d *Daemon) sample(ctx context.Context) (*metrics.Sample, error) {
	var s *metrics.Sample
	if !d.call(ctx, func() { s = d.measure() }) {
		return nil, errNoAnswer
	}
	return s, nil
}

// measure takes a sample.
func (d *Daemon) measure() *metrics.Sample {
	t := &d.tally
	s := &metrics.Sample{Version: d.o.Version, HalfOpen: float64(d.gate.HalfOpen() + d.gate1.HalfOpen()), Jobs: float64(len(d.backlog.ours) + len(d.backlog.strangers)),
		Handshakes: figures(t.established), Failures: figures(t.failed), Lost: figures(t.lost),
		Retransmits: t.retransmits, Unsent: t.unsent, Contained: t.contained}
	first, second := 0.0, 0.0
	for _, k := range d.table.IKEs() {
		switch {
		case k.Up == nil:
		case k.Conn.Version == ike.Version1:
			first++
		default:
			second++
		}
	}
	s.IKESAs = []metrics.Value{{Labels: []string{"1"}, Value: first}, {Labels: []string{"2"}, Value: second}}
	for _, c := range d.o.Plane.Drops() {
		s.Drops = append(s.Drops, metrics.Value{Labels: []string{c.Reason}, Value: float64(c.Count)})
	}
	s.Connections = d.measureConns()
	for _, c := range s.Connections {
		s.ChildSAs += c.ChildSAs
	}
	return s
}

// measureConns has every connection that there is or was, as far as Names lets
// them through.
func (d *Daemon) measureConns() []metrics.Connection {
	t := &d.tally
	children := map[string]float64{}
	for _, v := range d.table.Views() {
		n := 0.0
		for _, c := range v.Children {
			if c.Using {
				n++
			}
		}
		children[t.names.Label(v.Name)] += n
	}
	carried := t.octets(d.usage)
	for name := range carried {
		children[name] += 0
	}
	list := make([]metrics.Connection, 0, len(children))
	for name, n := range children {
		list = append(list, metrics.Connection{Name: name, ChildSAs: n, In: carried[name].in, Out: carried[name].out})
	}
	slices.SortFunc(list, byName)
	return list
}
