package ikev1

import "cygnet/internal/ike"

// state is how far a machine has come.
type state uint8

const (
	stateNew      state = iota // initiator: not yet told to begin
	stateMainI1                // initiator: MI1 is out
	stateMainI2                // initiator: MI2 is being made or out
	stateMainI3                // initiator: MI3 is being made or out
	stateMainR1                // responder: MI2 has come, the key exchange is being computed
	stateMainR2                // responder: MR2 is out
	stateRefused               // responder: the peer's MI3 was refused; only repeats that
	stateUp                    // the ISAKMP SA is established
	stateReplaced              // established, a newer one has taken over; expires in silence
	stateBare                  // the ISAKMP SA is gone, its children live on
	stateDead
)

// states names them with FreeS/WAN's names, codes and stories, freeswan.md 6.4.
var states = [...]struct {
	code int
	name string
	text string // empty: not worth a line
}{
	stateNew:      {104, "STATE_MAIN_I0", ""},
	stateMainI1:   {104, "STATE_MAIN_I1", "sent MI1, expecting MR1"},
	stateMainI2:   {106, "STATE_MAIN_I2", "sent MI2, expecting MR2"},
	stateMainI3:   {108, "STATE_MAIN_I3", "sent MI3, expecting MR3"},
	stateMainR1:   {105, "STATE_MAIN_R1", "sent MR1, expecting MI2"},
	stateMainR2:   {107, "STATE_MAIN_R2", "sent MR2, expecting MI3"},
	stateRefused:  {107, "STATE_MAIN_R2", ""},
	stateUp:       {109, "STATE_MAIN_R3", ""}, // or I4, see upName
	stateReplaced: {109, "STATE_MAIN_R3", ""},
	stateBare:     {109, "STATE_MAIN_R3", ""},
	stateDead:     {109, "STATE_MAIN_R3", ""},
}

// upName is the state of an established ISAKMP SA.
func (s *SA) upName() string {
	if s.first {
		return "STATE_MAIN_I4"
	}
	return "STATE_MAIN_R3"
}

func (s *SA) stateName() string {
	if s.state >= stateUp {
		return s.upName()
	}
	return states[s.state].name
}

// The states of a Quick Mode. R0 (111) and MAIN_R0 (103) are those of a message
// that has not come, which no machine is there to report.
var (
	quickI1 = ike.State{Code: 112, Name: "STATE_QUICK_I1", Text: "sent QI1, expecting QR1"}
	quickR1 = ike.State{Code: 113, Name: "STATE_QUICK_R1", Text: "sent QR1, inbound IPsec SA installed, expecting QI2"}
	quickI2 = ike.State{Code: 114, Name: "STATE_QUICK_I2", Text: "sent QI2, IPsec SA established"}
	quickR2 = ike.State{Code: 115, Name: "STATE_QUICK_R2", Text: "IPsec SA established"}
)

// Informational messages leave these names in the log.
var (
	infoClear     = ike.State{Code: 116, Name: "STATE_INFO", Text: "got Informational Message in clear"}
	infoProtected = ike.State{Code: 117, Name: "STATE_INFO_PROTECTED", Text: "got encrypted Informational Message"}
)
