package main

import (
	"encoding/json"
	"fmt"
	"os"

	"cygnet/internal/whack"
)

// state is what `setup status --json` prints.
type state struct {
	Schema  int      `json:"schema"`
	Running bool     `json:"running"`
	Pid     int      `json:"pid,omitempty"`
	But     []string `json:"but,omitempty"`
}

func (s *setup) status(asJSON bool) error {
	st := state{Schema: whack.Schema, Running: s.running(), Pid: s.pid()}
	switch {
	case st.Running && st.Pid == 0:
		st.But = append(st.But, "illicit Pluto running!")
	case !st.Running && st.Pid != 0:
		st.But = append(st.But, "orphaned Pluto is running!")
	}
	if _, err := os.Stat(s.at.infoFile()); err == nil && !st.Running {
		st.But = append(st.But, fmt.Sprintf("has %s file!", s.at.infoFile()))
	}
	if asJSON {
		if err := json.NewEncoder(s.out).Encode(st); err != nil {
			return err
		}
	} else {
		s.printState(st)
	}
	switch {
	case len(st.But) > 0:
		return ended(whack.ExitFailed)
	case !st.Running:
		return ended(whack.ExitNotRunning)
	}
	return nil
}

func (s *setup) printState(st state) {
	if st.Running {
		s.say("IPsec running")
		if st.Pid != 0 {
			s.say("%s pid %d", daemonOf(st.Pid), st.Pid)
		}
	} else {
		s.say("IPsec stopped")
	}
	if len(st.But) > 0 {
		s.say("but...")
		for _, b := range st.But {
			s.say("%s", b)
		}
	}
}
