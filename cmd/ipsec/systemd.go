package main

import (
	"context"
	"os/exec"
	"strings"
)

// restarting reports whether systemd stops a unit only to start it again. Its jobs
// tell: nothing that it hands to ExecStop= does. A systemd that does not answer has
// asked for a stop.
func restarting(ctx context.Context, unit string) bool {
	out, err := exec.CommandContext(ctx, "systemctl", "list-jobs", "--no-legend", "--no-pager", unit).Output()
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(out)) { // JOB UNIT TYPE STATE
		if f := strings.Fields(line); len(f) >= 3 && f[1] == unit && f[2] == "restart" {
			return true
		}
	}
	return false
}
