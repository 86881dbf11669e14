package whack

import (
	"strconv"

	"cygnet/internal/ike"
)

// Exit is the exit code of a command, as the contract numbers them.
type Exit int

// The exit codes of auto, manual, setup, check and the short verbs.
const (
	ExitDone       Exit = 0
	ExitFailed     Exit = 1
	ExitUsage      Exit = 2
	ExitNotRunning Exit = 3
	ExitPermission Exit = 4
	ExitNoConn     Exit = 5
	ExitConfig     Exit = 6
	ExitProposal   Exit = 10
	ExitAuth       Exit = 11
	ExitSilent     Exit = 12
	ExitSelectors  Exit = 13
	ExitPlane      Exit = 14
	ExitWarnings   Exit = 21
	ExitErrors     Exit = 22
)

// exits is the one place where codes, their symbols for --json and their
// meaning stand.
var exits = []struct {
	Exit         Exit
	Symbol, Text string
}{
	{ExitDone, "", "done"},
	{ExitFailed, "failed", "failed"},
	{ExitUsage, "usage", "usage: the words of the command line are wrong"},
	{ExitNotRunning, "not-running", "not running: no daemon answers on the control socket"},
	{ExitPermission, "not-permitted", "not permitted: run it as root"},
	{ExitNoConn, "no-such-connection", "no such connection"},
	{ExitConfig, "configuration", "bad configuration (file:line is printed)"},
	{ExitProposal, "proposal", "peer refused the proposal: no common algorithm"},
	{ExitAuth, "authentication", "authentication failed"},
	{ExitSilent, "silent", "peer silent"},
	{ExitSelectors, "selectors", "traffic selectors refused"},
	{ExitPlane, "data-plane", "data plane error"},
	{ExitWarnings, "warnings", "ipsec check has warnings"},
	{ExitErrors, "errors", "ipsec check has errors"},
}

// String is the symbolic reason of --json; empty for ExitDone.
func (e Exit) String() string {
	for _, x := range exits {
		if x.Exit == e {
			return x.Symbol
		}
	}
	return "exit" + strconv.Itoa(int(e))
}

// Meaning is one line for people.
func (e Exit) Meaning() string {
	for _, x := range exits {
		if x.Exit == e {
			return x.Text
		}
	}
	return ""
}

// Exits lists all exit codes in order.
func Exits() []Exit {
	list := make([]Exit, len(exits))
	for i, x := range exits {
		list[i] = x.Exit
	}
	return list
}

// ExitOf is the exit code that a failure of IKE calls for.
func ExitOf(r ike.Reason) Exit {
	switch r {
	case ike.ReasonProposal:
		return ExitProposal
	case ike.ReasonAuth:
		return ExitAuth
	case ike.ReasonSilent:
		return ExitSilent
	case ike.ReasonTS:
		return ExitSelectors
	case ike.ReasonPlane:
		return ExitPlane
	}
	return ExitFailed
}

// Classes of reply lines, freeswan.md 4.4. 100+n is a state reached, 200+n a
// notify of IKE.
const (
	CodeComment    = 0
	CodeLog        = 2
	CodeSerious    = 3
	CodeSuccess    = 4
	CodeRetransmit = 10
	CodeDuplicate  = 20
	CodeUnknown    = 21
	CodeOrient     = 22
	CodeClash      = 23
	CodeDeaf       = 24
	CodeRoute      = 25
	CodeRouteBusy  = 26
	CodeBadID      = 27
	CodeNoKey      = 28
	CodeNoPeer     = 29
	CodeNever      = 30
	CodeGaveUp     = 31
	CodeInternal   = 32
	CodeOE         = 33
	CodeState      = 100
	CodeNotify     = 200
)

// WhackExit is the exit code of `ipsec whack` after replies with these codes:
// the last significant one decides.
func WhackExit(codes []int) int {
	exit := 0
	for _, c := range codes {
		switch c {
		case CodeComment, CodeLog:
		case CodeSuccess:
			exit = 0
		default:
			exit = c
		}
	}
	return exit & 0xff
}
