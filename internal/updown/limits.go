package updown

import "time"

// Limits of this package.
const (
	// timeLimit is for one command. A tunnel that waits longer for its script
	// is as good as down.
	timeLimit = 30 * time.Second
	// drainTime is for output after the end of a command, which something it
	// has left in the background may hold open.
	drainTime = 500 * time.Millisecond

	maxRunning       = 16   // commands at a time: they are processes
	maxPerConnection = 64   // calls: some rounds of up and down
	maxQueued        = 4096 // calls: every connection of a large gateway once
	maxEnvironments  = 256  // pairs of nets in one call

	maxLine   = 1024     // octets of one line of output that are passed on
	maxOutput = 64 << 10 // octets of output of one command that are passed on

	maxValue = 1024 // octets of a variable, before its encoding
)

// path is all that commands are found in. They find others there too, after
// our own: see pathOf.
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
