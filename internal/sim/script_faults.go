package sim

import (
	"fmt"
	"time"
)

func (s *Script) clockCommand(n *Node, verb, text string) error {
	if at, err := time.Parse(time.RFC3339, text); err == nil && verb == "wall" {
		n.SetWall(at)
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	switch verb {
	case "suspend":
		n.Suspend(d)
	case "leap":
		n.Leap(d)
	case "wall":
		n.StepWall(d)
	}
	return nil
}

func (s *Script) replay(a []string) error {
	l, err := s.between(a)
	if err == nil {
		s.world.Net.Replay(l.from, l.to)
	}
	return err
}

func (s *Script) forge(a []string) error {
	l, err := s.between(a)
	kind, ok := forgeries[a[2]]
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("unknown forgery %q", a[2])
	}
	s.world.Net.Forge(l.from, l.to, kind)
	return nil
}

func (s *Script) empty([]string) error {
	before := len(s.world.Breaches)
	s.world.Empty()
	if len(s.world.Breaches) > before && !s.checks {
		return fmt.Errorf("%v", s.world.Breaches[before:])
	}
	return nil
}

// burst sends some packets from one end of a tunnel.
func (s *Script) burst(n *Node, t *Tunnel) {
	w := s.world
	w.Trace.add(n.Name, "$ send packets through "+t.Name)
	for i := range 20 {
		w.after(time.Duration(i)*250*time.Millisecond, classCommand, func() { n.Ping(t.flowOf(n)) })
	}
}
