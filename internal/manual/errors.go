package manual

// Phrase is an error whose text is that of FreeS/WAN, because its users and
// scripts look for it (freeswan.md 4.8 to 4.11).
type Phrase string

// Error implements error.
func (p Phrase) Error() string { return string(p) }

// Errors of Table.
const (
	ErrSAInUse     = Phrase("SA already in use.  Delete old one first.")
	ErrNoSA        = Phrase("SA not found")
	ErrGrouped     = Phrase("already grouped")
	ErrErouteInUse = Phrase("eroute already in use.  Delete old one first.")
	ErrNoEroute    = Phrase("eroute doesn't exist.  Can't delete.")
	ErrUp          = Phrase("already up")
	ErrNotUp       = Phrase("not up")
	ErrRouteBusy   = Phrase("cannot unroute: route busy")
)
