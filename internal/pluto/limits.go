package pluto

import "time"

// Limits of the runtime.
const (
	replyQueue   = 4096                   // replies to one client that has not read them; then it is cut off
	maxWaiting   = 64                     // jobs that wait for name servers and the like at once
	startQueue   = 16                     // replies about one connection that is routed at the start
	byeTime      = 1 * time.Second        // for Deletes to be answered at the end
	lookupsEnd   = 1 * time.Second        // for questions to the DNS that are broken off at the end
	strangerWait = 5 * time.Second        // for the DNS about a stranger who calls
	settleTime   = 300 * time.Millisecond // after the last change of interfaces, before we look
	attachWait   = 10 * time.Second       // after a device could not be attached
	resolveTime  = 5 * time.Second        // for host names of the configuration
	scriptsEnd   = 30 * time.Second       // for the scripts that undo things at the end
	maxProxies   = 256                    // addresses of one selector that proxy ARP answers for
	filterShare  = 4                      // transactions of the packet filter rest that many times as long as they take
	filterCredit = 1 * time.Second        // but for so much rest that may be owed: a few are done at once
	maxLogLine   = 4096                   // octets of a log line
	debugBurst   = 1000                   // lines of one class of debugging at once,
	debugPerSec  = 100                    // and a second
	unsentBurst  = 20                     // lines about messages that could not be sent at once,
	unsentPerSec = 1                      // and a second
	lockTries    = 20                     // for a daemon that is just ending
	lockWait     = 100 * time.Millisecond
)
