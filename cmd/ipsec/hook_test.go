package main

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"cygnet/internal/pluto"
)

// A hook is shell text; its output and its failure are logged, no more.
func TestHook(t *testing.T) {
	file := filepath.Join(t.TempDir(), "made")
	for text, want := range map[string]string{
		"":                                 "",
		"echo a; echo b >&2":               "prepluto: a\nprepluto: b\n",
		"touch " + file + " && ls " + file: "prepluto: " + file + "\n",
		"exit 3":                           "prepluto= failed: exit status 3\n",
		"echo gone; kill -9 $$":            "prepluto: gone\nprepluto= failed: signal: killed\n",
	} {
		var log strings.Builder
		runHook(t.Context(), "prepluto", text, slog.New(pluto.NewLogHandler(&log, false, slog.LevelInfo)))
		if log.String() != want {
			t.Errorf("%q logs %q, want %q", text, log.String(), want)
		}
	}
}
