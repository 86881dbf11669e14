package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cygnet/internal/sim"
	"cygnet/internal/whack"
)

// meshRun is the JSON of a full mesh.
type meshRun struct {
	Schema   int         `json:"schema"`
	Version  string      `json:"version"`
	Gateways int         `json:"gateways"`
	Paths    int         `json:"paths"`
	Stages   []meshStage `json:"stages"`
	Seconds  float64     `json:"seconds"`
	Virtual  float64     `json:"virtual_minutes"`
	Memory   int64       `json:"memory_bytes_peak"`
	Stats    sim.Stats   `json:"counts"`
}

type meshStage struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// simulateMesh runs a full mesh and prints what it took. Progress goes to errs.
func simulateMesh(out, errs io.Writer, seed uint64, size int, asJSON bool) error {
	r := meshRun{Schema: 1, Version: release, Gateways: size}
	begin := time.Now()
	stage := func(name string, do func() error) error {
		since := time.Now()
		err := do()
		r.Stages = append(r.Stages, meshStage{name, time.Since(since).Seconds()})
		return err
	}
	said := begin
	progress := func(stage string, done int) {
		if time.Since(said) >= progressEvery {
			said = time.Now()
			fmt.Fprintf(errs, "%5.0f s: %d paths %s\n", time.Since(begin).Seconds(), done, stage)
		}
	}
	var m *sim.Mesh
	err := stage("configured", func() (err error) {
		m, err = sim.NewMesh(seed, size, progress)
		return err
	})
	if err != nil {
		return fail(whack.ExitFailed, "%w", err)
	}
	for _, s := range m.Stages() {
		if err := stage(s.Name, s.Do); err != nil {
			return fail(whack.ExitFailed, "%s: %w", s.Name, err)
		}
	}
	r.Paths, r.Stats, r.Virtual, r.Seconds, r.Memory = m.Paths(), m.Stats, m.Elapsed().Minutes(), time.Since(begin).Seconds(), peakMemory()
	if asJSON {
		return printJSON(out, r)
	}
	return r.print(out)
}

// progressEvery is how often a simulation tells how far it is.
const progressEvery = 5 * time.Second

// peakMemory is what this process has had of memory at most, in octets; 0 if the
// system does not tell.
func peakMemory() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Maxrss * 1024
}

func (r meshRun) print(out io.Writer) error {
	s := r.Stats
	var b strings.Builder
	fmt.Fprintf(&b, "%d gateways, %d paths, %.1f virtual minutes, in %.0f s\n", r.Gateways, r.Paths, r.Virtual, r.Seconds)
	for _, stage := range r.Stages {
		fmt.Fprintf(&b, "  %-11s %.1f s\n", stage.Name, stage.Seconds)
	}
	fmt.Fprintf(&b, "  %-11s %d: %d handshakes, %d IKE SAs and %d Child SAs rekeyed\n", "exchanges", s.Exchanges, s.Handshakes/2, s.IKERekeys/2, s.ChildRekeys/2)
	fmt.Fprintf(&b, "  %-11s %d carried\n", "packets", s.DataDelivered)
	fmt.Fprintf(&b, "  %-11s %.0f MB at most\n", "memory", float64(r.Memory)/1e6)
	fmt.Fprintf(&b, "  %-11s 0\n", "violations")
	_, err := io.WriteString(out, b.String())
	return err
}
