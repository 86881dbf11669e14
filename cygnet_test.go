package cygnet

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cygnet/internal/ike"
)

// A configuration with errors outside connections is refused as a whole, with
// the place.
func TestStartRefusesBadConfiguration(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ipsec.conf"), []byte("version 2.0\nconfig setup\n\tinterfaces=nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := Start(t.Context(), Options{Confs: dir})
	if err == nil {
		h.Close()
	}
	if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "ipsec.conf:3: interfaces") {
		t.Errorf("error %v", err)
	}
}

func TestEvent(t *testing.T) {
	c := &ike.Conn{Name: "road", Instance: 2}
	why := &ike.Failure{Reason: ike.ReasonSilent, Why: "no answer"}
	for _, tc := range []struct {
		fact   ike.Fact
		kind   EventKind
		reason string
	}{
		{ike.State{Name: "S", Text: "t"}, EventProgress, ""},
		{ike.IKEUp{}, EventIKEUp, ""},
		{ike.IKEDown{Why: why}, EventIKEDown, "silent"},
		{ike.ChildUp{}, EventChildUp, ""},
		{ike.ChildDown{}, EventChildDown, ""},
		{ike.Failed{Why: why}, EventFailed, "silent"},
	} {
		ev := event(ike.Report{Conn: c, Serial: 7, Fact: tc.fact})
		if ev.Conn != "road" || ev.Instance != 2 || ev.Serial != 7 || ev.Kind != tc.kind || ev.Reason != tc.reason || ev.Text != tc.fact.String() {
			t.Errorf("%T became %+v", tc.fact, ev)
		}
	}
}
