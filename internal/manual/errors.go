package manual

import "errors"

// Errors of Table. Texts are those that FreeS/WAN's users and scripts know
// (freeswan.md 4.8 to 4.10).
var (
	ErrSAInUse     = errors.New("SA already in use.  Delete old one first.")
	ErrNoSA        = errors.New("SA not found")
	ErrGrouped     = errors.New("already grouped")
	ErrErouteInUse = errors.New("eroute already in use.  Delete old one first.")
	ErrNoEroute    = errors.New("eroute doesn't exist.  Can't delete.")
	ErrUp          = errors.New("already up")
	ErrNotUp       = errors.New("not up")
	ErrRouteBusy   = errors.New("cannot unroute: route busy")
)
