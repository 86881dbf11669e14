package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cygnet/internal/lab"
)

// measure is one way to load a tunnel and the figures it yields.
type measure struct {
	title   string
	load    func(ctx context.Context, l *lab.Lab, seconds int) (load, error)
	figures []figure
}

// load is what one measurement carried.
type load struct {
	octets, packets, sent float64
	seconds               float64
	rtt                   time.Duration
	cpu                   float64 // seconds of the daemons
}

type figure struct {
	name  string
	value func(load) float64
}

var measures = []measure{
	{"TCP, 1 stream", tcp(1), []figure{
		{"tcp 1 stream, Gbit/s", gbits},
		{"tcp 1 stream, cpu s/GB", cpuPerGB},
	}},
	{"TCP, 8 streams", tcp(8), []figure{{"tcp 8 streams, Gbit/s", gbits}}},
	{"64-octet datagrams", datagrams, []figure{
		{"64 B delivered, kpps", func(l load) float64 { return l.packets / l.seconds / 1e3 }},
		{"64 B, cpu us/packet", func(l load) float64 { return l.cpu * 1e6 / max(l.packets, 1) }},
	}},
	{"round trip", roundTrip, []figure{
		{"round trip, us", func(l load) float64 { return float64(l.rtt.Nanoseconds()) / 1e3 }},
	}},
}

func gbits(l load) float64    { return l.octets * 8 / l.seconds / 1e9 }
func cpuPerGB(l load) float64 { return l.cpu / (l.octets / 1e9) }

func (b *bed) measure(ctx context.Context, m measure, seconds int) error {
	before := cpuSeconds(b.daemons)
	got, err := m.load(ctx, b.lab, seconds)
	if err != nil {
		return err
	}
	got.cpu = cpuSeconds(b.daemons) - before
	for _, f := range m.figures {
		b.results[f.name] = append(b.results[f.name], f.value(got))
	}
	return nil
}

func startServer(h *lab.Host) error {
	path, err := exec.LookPath("iperf3")
	if err != nil {
		return fmt.Errorf("iperf3 is needed: apt-get install iperf3: %w", err)
	}
	_, err = h.Start(exec.Command(path, "-s"), filepath.Join(h.Dir, "iperf3.log"))
	return err
}

func tcp(streams int) func(context.Context, *lab.Lab, int) (load, error) {
	return func(ctx context.Context, l *lab.Lab, seconds int) (load, error) {
		return iperf(ctx, l, seconds, "-P", strconv.Itoa(streams))
	}
}

func datagrams(ctx context.Context, l *lab.Lab, seconds int) (load, error) {
	return iperf(ctx, l, seconds, "-u", "-l", "64", "-b", "0")
}

// iperf runs one iperf3 client on sunset and reads its report.
func iperf(ctx context.Context, l *lab.Lab, seconds int, args ...string) (load, error) {
	args = append([]string{"-c", lab.Sunrise.String(), "-t", strconv.Itoa(seconds), "-J"}, args...)
	var r lab.Result
	for attempt := 0; ; attempt++ {
		var err error
		if r, err = l.Host("sunset").Run(ctx, nil, "iperf3", args...); err != nil {
			return load{}, err
		}
		if r.Exit == 0 || attempt == 3 {
			break
		}
		time.Sleep(time.Second) // the server is still busy with the client before
	}
	var report struct {
		Error string
		End   struct {
			SumReceived struct{ Bytes, Seconds float64 } `json:"sum_received"`
			Sum         struct {
				Packets, Seconds float64
				Lost             float64 `json:"lost_packets"`
			}
		}
	}
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil {
		return load{}, fmt.Errorf("iperf3: %w: %s", err, r.Stderr)
	}
	if report.Error != "" {
		return load{}, errors.New("iperf3: " + report.Error)
	}
	got := load{octets: report.End.SumReceived.Bytes, seconds: report.End.SumReceived.Seconds}
	if s := report.End.Sum; s.Packets > 0 {
		got.sent, got.packets, got.seconds = s.Packets, s.Packets-s.Lost, s.Seconds
	}
	return got, nil
}

func roundTrip(ctx context.Context, l *lab.Lab, _ int) (load, error) {
	r, err := l.Host("sunset").Ping(ctx, lab.Echo{Dst: lab.Sunrise, Count: 100, Interval: 5 * time.Millisecond})
	return load{rtt: r.Mean(), seconds: 1}, err
}

// cpuSeconds is the user and system time that processes have used so far.
func cpuSeconds(pids []int) float64 {
	const ticksPerSecond = 100 // USER_HZ on every Linux that Go runs on
	var ticks float64
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		// The command's name, in parentheses, may hold blanks.
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		for _, f := range fields[11:13] {
			n, _ := strconv.ParseFloat(f, 64)
			ticks += n
		}
	}
	return ticks / ticksPerSecond
}
