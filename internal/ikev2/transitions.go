package ikev2

import "cygnet/internal/ike"

// state is how far an IKE SA has come.
type state uint8

const (
	stateNew      state = iota // initiator: not yet told to begin
	stateKeyI                  // initiator: its half of the key exchange is being made
	stateInitI                 // initiator: IKE_SA_INIT is out
	stateMidI                  // initiator: IKE_INTERMEDIATE is being made, out, or its answer computed on
	stateAuthI                 // initiator: IKE_AUTH is being made, out, or its answer checked
	stateKeyR                  // responder: the key exchange is being computed
	stateInitR                 // responder: IKE_SA_INIT is answered; half-open
	stateAuthR                 // responder: IKE_AUTH is being checked
	stateEAPR                  // responder: an IKE_AUTH of several is answered
	stateUp                    // established
	stateReplaced              // established, rekeyed; waits for its deletion
	stateClosing               // our Delete is out
	stateLinger                // gone; only repeats its last answer for a while
	stateDead
)

// states names them, in Libreswan's way, with the codes of its classic
// messages (133 and 134 are those of its versions 2 and 3).
var states = [...]struct {
	code int
	name string
	text string // empty: not worth a line
}{
	stateNew:      {132, "STATE_V2_PARENT_I0", ""},
	stateKeyI:     {132, "STATE_V2_PARENT_I0", "initiating IKEv2 connection"},
	stateInitI:    {133, "STATE_V2_PARENT_I1", "sent IKE_SA_INIT request, expecting its response"},
	stateMidI:     {134, "STATE_V2_PARENT_I2", "sent IKE_INTERMEDIATE request, expecting its response"},
	stateAuthI:    {134, "STATE_V2_PARENT_I2", "sent IKE_AUTH request, expecting its response"},
	stateKeyR:     {135, "STATE_V2_PARENT_R0", ""},
	stateInitR:    {136, "STATE_V2_PARENT_R1", "answered IKE_SA_INIT, expecting IKE_AUTH"},
	stateAuthR:    {136, "STATE_V2_PARENT_R1", ""},
	stateEAPR:     {136, "STATE_V2_PARENT_R1", ""},
	stateUp:       {137, "STATE_V2_ESTABLISHED_IKE_SA", ""},
	stateReplaced: {138, "STATE_V2_REKEY_IKE", ""},
	stateClosing:  {139, "STATE_V2_IKE_SA_DELETE", ""},
	stateLinger:   {139, "STATE_V2_IKE_SA_DELETE", ""},
	stateDead:     {139, "STATE_V2_IKE_SA_DELETE", ""},
}

// handler acts on a verified message. It runs once for a request, and for a
// response after the pending request is off the window.
type handler func(*step, inbound)

// Directions of a message.
const (
	isRequest  = false
	isResponse = true
)

// cell is a message of an exchange and direction that comes in a state.
type cell struct {
	state    state
	exchange ike.ExchangeType
	response bool
}

// legal is the table of transitions: what has no cell is dropped without a
// trace. IKE_SA_INIT is not here, because nothing of it is protected; see
// receive.
func legal(c cell) handler {
	switch c {
	case cell{stateInitR, ike.Intermediate, isRequest}:
		return (*step).intermediateRequest
	case cell{stateMidI, ike.Intermediate, isResponse}:
		return (*step).intermediateResponse
	case cell{stateInitR, ike.Auth, isRequest}:
		return (*step).authRequest
	case cell{stateEAPR, ike.Auth, isRequest}:
		return (*step).eapRequest
	case cell{stateAuthI, ike.Auth, isResponse}:
		return (*step).authResponse
	case cell{stateAuthI, ike.Informational, isRequest}:
		return (*step).earlyRequest

	case cell{stateUp, ike.CreateChild, isRequest}:
		return (*step).createChildRequest
	case cell{stateUp, ike.CreateChild, isResponse}:
		return (*step).taskResponse
	case cell{stateUp, ike.FollowupKE, isRequest}:
		return (*step).followUpRequest
	case cell{stateUp, ike.FollowupKE, isResponse}, cell{stateReplaced, ike.FollowupKE, isResponse}, cell{stateClosing, ike.FollowupKE, isResponse}:
		return (*step).taskResponse
	case cell{stateReplaced, ike.FollowupKE, isRequest}, cell{stateClosing, ike.FollowupKE, isRequest}:
		return (*step).noFollowUp
	case cell{stateUp, ike.Informational, isRequest}:
		return (*step).infoRequest
	case cell{stateUp, ike.Informational, isResponse}:
		return (*step).taskResponse

	// Deleted while IKE_AUTH was out: its answer opens the way for our Delete.
	case cell{stateClosing, ike.Auth, isResponse}:
		return (*step).taskResponse

	// A replaced IKE SA only waits for its end, and RFC 7296, 2.25.2 lets
	// nothing new begin while we close. Answers to what was under way still
	// come.
	case cell{stateReplaced, ike.CreateChild, isRequest}, cell{stateClosing, ike.CreateChild, isRequest}:
		return (*step).tooLate
	case cell{stateReplaced, ike.CreateChild, isResponse}, cell{stateClosing, ike.CreateChild, isResponse}:
		return (*step).taskResponse
	case cell{stateReplaced, ike.Informational, isRequest}, cell{stateClosing, ike.Informational, isRequest}:
		return (*step).infoRequest
	case cell{stateReplaced, ike.Informational, isResponse}, cell{stateClosing, ike.Informational, isResponse}:
		return (*step).taskResponse
	}
	return nil
}

// known reports whether an exchange is one of IKEv2 that this machine has.
func known(x ike.ExchangeType) bool {
	switch x {
	case ike.SAInit, ike.Auth, ike.CreateChild, ike.Informational, ike.FollowupKE:
		return true
	}
	return false
}
