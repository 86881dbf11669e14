package metrics

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// sampleTime is how long a request waits for the daemon. Its loop is idle nearly
// always; where it is not, the next scrape will find it so.
const sampleTime = 5 * time.Second

// family is one metric: its name, kind, labels, and its figures in a Sample.
type family struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	values     func(*Sample) []Value
}

// families is everything that is shown. The names are an interface: they never
// change their meaning.
var families = []family{
	{"ipsec_build_info", "Version of the daemon; always 1.", prometheus.GaugeValue, []string{"version"},
		func(s *Sample) []Value { return []Value{{[]string{s.Version}, 1}} }},
	{"ipsec_ike_sas", "Established IKE SAs, by version of IKE.", prometheus.GaugeValue, []string{"version"},
		func(s *Sample) []Value { return s.IKESAs }},
	{"ipsec_child_sas", "Pairs of SAs that carry traffic.", prometheus.GaugeValue, nil,
		func(s *Sample) []Value { return one(s.ChildSAs) }},
	{"ipsec_half_open_ike_sas", "IKE SAs whose peer has yet to prove who it is.", prometheus.GaugeValue, nil,
		func(s *Sample) []Value { return one(s.HalfOpen) }},
	{"ipsec_waiting_jobs", "Computations that wait for a worker.", prometheus.GaugeValue, nil,
		func(s *Sample) []Value { return one(s.Jobs) }},
	{"ipsec_established_total", "SAs established, by what (ike, child) and how (new, rekey).", prometheus.CounterValue, []string{"sa", "how"},
		func(s *Sample) []Value { return s.Handshakes }},
	{"ipsec_failures_total", "Attempts that failed, by what (ike, child) and reason.", prometheus.CounterValue, []string{"sa", "reason"},
		func(s *Sample) []Value { return s.Failures }},
	{"ipsec_lost_total", "SAs that ended by a failure, by what (ike, child) and reason.", prometheus.CounterValue, []string{"sa", "reason"},
		func(s *Sample) []Value { return s.Lost }},
	{"ipsec_retransmits_total", "Requests of IKE that were sent again.", prometheus.CounterValue, nil,
		func(s *Sample) []Value { return one(s.Retransmits) }},
	{"ipsec_unsent_messages_total", "Messages of IKE that the system did not send.", prometheus.CounterValue, nil,
		func(s *Sample) []Value { return one(s.Unsent) }},
	{"ipsec_contained_faults_total", "Faults of the program that cost one IKE SA.", prometheus.CounterValue, nil,
		func(s *Sample) []Value { return one(s.Contained) }},
	{"ipsec_dropped_packets_total", "Packets that went nowhere, by reason, as ipsec look shows them.", prometheus.CounterValue, []string{"reason"},
		func(s *Sample) []Value { return s.Drops }},
	{"ipsec_connection_child_sas", "Pairs of SAs of a connection and its instances; 0: it is down.", prometheus.GaugeValue, []string{"connection"},
		func(s *Sample) []Value {
			return each(s, func(c Connection) []Value { return []Value{{[]string{c.Name}, c.ChildSAs}} })
		}},
	{"ipsec_connection_octets_total", "Octets that the SAs of a connection have carried, by direction (in, out).", prometheus.CounterValue, []string{"connection", "direction"},
		func(s *Sample) []Value {
			return each(s, func(c Connection) []Value {
				return []Value{{[]string{c.Name, "in"}, c.In}, {[]string{c.Name, "out"}, c.Out}}
			})
		}},
}

func one(v float64) []Value { return []Value{{nil, v}} }

func each(s *Sample, of func(Connection) []Value) (all []Value) {
	for _, c := range s.Connections {
		all = append(all, of(c)...)
	}
	return all
}

// collector makes the metrics of a request from one sample.
type collector struct {
	source Source
	descs  []*prometheus.Desc
}

func newCollector(source Source) *collector {
	c := &collector{source: source}
	for _, f := range families {
		c.descs = append(c.descs, prometheus.NewDesc(f.name, f.help, f.labels, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), sampleTime)
	defer cancel()
	s, err := c.source(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.descs[0], fmt.Errorf("take a sample: %w", err))
		return
	}
	for i, f := range families {
		for _, v := range f.values(s) {
			m, err := prometheus.NewConstMetric(c.descs[i], f.kind, v.Value, text(v.Labels)...)
			if err != nil {
				m = prometheus.NewInvalidMetric(c.descs[i], err)
			}
			out <- m
		}
	}
}

// text makes labels what the format takes, which is UTF-8.
func text(labels []string) []string {
	clean := make([]string, len(labels))
	for i, l := range labels {
		clean[i] = strings.ToValidUTF8(l, "?")
	}
	return clean
}
