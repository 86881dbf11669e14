package pluto

import "time"

// Limits of the runtime.
const (
	replyQueue   = 4096                   // replies to one client that has not read them; then it is cut off
	byeTime      = 1 * time.Second        // for Deletes to be answered at the end
	settleTime   = 300 * time.Millisecond // after the last change of interfaces, before we look
	resolveTime  = 5 * time.Second        // for host names of the configuration
	scriptTime   = 30 * time.Second
	scriptDrain  = time.Second // for the output of what a script has left running
	scriptOutput = 64 << 10    // octets of a script's output that are read at all
	scriptLines  = 100         // and lines that are logged
	maxLogLine   = 4096        // octets of a log line
	lockTries    = 20          // for a daemon that is just ending
	lockWait     = 100 * time.Millisecond
)
