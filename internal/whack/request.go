package whack

import (
	"encoding/json"
	"net/netip"
)

// Op is what a request asks for.
type Op string

// The operations. Those of `ipsec auto` and the short verbs take Args.Name.
const (
	OpAdd     Op = "add"     // read the connection from the configuration and define it
	OpDelete  Op = "delete"  // forget it and all that was built on it
	OpReplace Op = "replace" // delete, if there, and add, without a gap in routing
	OpUp      Op = "up"      // initiate; replies until the outcome unless Args.Async
	OpDown    Op = "down"    // delete its SAs; the route stays
	OpRoute   Op = "route"   // route and trap
	OpUnroute Op = "unroute" // undo

	OpListen        Op = "listen" // --ready: find interfaces, reload secrets and groups
	OpUnlisten      Op = "unlisten"
	OpReload        Op = "reload" // what SIGHUP does: configuration, secrets and all
	OpReadSecrets   Op = "rereadsecrets"
	OpReadGroups    Op = "rereadgroups"
	OpReadAll       Op = "rereadall"
	OpListKeys      Op = "listpubkeys"
	OpStatus        Op = "status"        // Status
	OpTrafficStatus Op = "trafficstatus" // Traffic
	OpEroutes       Op = "eroute"        // Eroutes
	OpSAs           Op = "spi"           // SAs
	OpLook          Op = "look"          // Look
	OpLeases        Op = "leases"        // Leases
	OpWhy           Op = "why"           // Args.Name, or all that failed: what, and how to mend it
	OpPing          Op = "ping"          // answers once start-up work is queued
	OpDebug         Op = "debug"         // Args.Debug: areas to log; empty: none
	OpMyID          Op = "myid"          // Args.ID
	OpDeleteState   Op = "deletestate"   // Args.Serial
	OpRekey         Op = "rekey"         // Args.Name or Args.Serial, now
	OpCrash         Op = "crash"         // Args.Addr: drop all SAs with that peer
	OpPolicy        Op = "policy"        // Policy; Args.Flow: with an explanation
	OpFlush         Op = "flush"         // Args.Prefix: forget failures of opportunistic encryption there; invalid: all
	OpCaptive       Op = "captive"       // Args.Seconds: behind a captive portal for so long; 0: no longer
	OpShutdown      Op = "shutdown"
)

// ops lists every operation and what it needs; the decoder refuses others.
var ops = map[Op]need{
	OpAdd: needName, OpDelete: needName, OpReplace: needName, OpUp: needName,
	OpDown: needName, OpRoute: needName, OpUnroute: needName,
	OpListen: 0, OpUnlisten: 0, OpReload: 0, OpReadSecrets: 0, OpReadGroups: 0, OpReadAll: 0,
	OpReadCerts: 0, OpReadCAs: 0, OpReadCRLs: 0, OpListCerts: 0, OpListCAs: 0, OpListCRLs: 0,
	OpListKeys: 0, OpStatus: 0, OpTrafficStatus: 0, OpEroutes: 0, OpSAs: 0, OpLook: 0, OpLeases: 0,
	OpPing: 0, OpWhy: 0, OpDebug: 0, OpMyID: 0, OpDeleteState: needSerial, OpRekey: 0, OpCrash: needAddr,
	OpShutdown: 0, OpPolicy: 0, OpFlush: 0, OpCaptive: 0,

	OpManualUp: 0, OpManualDown: needName, OpManualRoute: 0, OpManualUnroute: needName,
	OpAddSA: 0, OpDelSA: 0, OpClearSAs: 0, OpGroup: 0,
	OpErouteAdd: 0, OpErouteAddIn: 0, OpErouteReplace: 0, OpErouteDel: 0, OpErouteClear: 0,
	OpAttach: 0, OpDetach: 0, OpDetachAll: 0, OpKlipsDebug: 0,
	OpGroups: 0, OpDevices: 0, OpKlipsFlags: 0,
}

type need uint8

const (
	needName need = iota + 1
	needSerial
	needAddr
)

// Reading reports whether op only looks.
func (op Op) Reading() bool {
	switch op {
	case OpListCerts, OpListCAs, OpListCRLs, OpListKeys, OpStatus, OpTrafficStatus, OpEroutes, OpSAs, OpLook, OpLeases, OpWhy, OpPing, OpPolicy, OpGroups, OpDevices, OpKlipsFlags:
		return true
	}
	return false
}

// Request is what a client sends.
type Request struct {
	Op   Op   `json:"op"`
	Args Args `json:"args,omitzero"`
}

// Args are the arguments of all operations; each uses a few.
type Args struct {
	Name   string     `json:"name,omitempty"`   // connection, or the name in the file of several
	Config string     `json:"config,omitempty"` // absolute path of another ipsec.conf, for add and replace
	Async  bool       `json:"async,omitempty"`  // up: answer once it is queued
	Serial uint32     `json:"serial,omitempty"` // state number, #n
	Addr   netip.Addr `json:"addr,omitzero"`
	ID     string     `json:"id,omitempty"`
	Debug  []string   `json:"debug,omitempty"`
	UTC    bool       `json:"utc,omitempty"`

	Seconds uint32 `json:"seconds,omitempty"` // captive
	Block   bool   `json:"block,omitempty"`   // shutdown: what is protected stays blocked, for the next daemon

	Flow   *FlowSpec    `json:"flow,omitempty"`  // policy: a packet to be explained
	Prefix netip.Prefix `json:"prefix,omitzero"` // flush

	// By hand.
	Parts    []string    `json:"parts,omitempty"` // sections that together are a connection
	Iam      string      `json:"iam,omitempty"`   // ADDR@DEVICE that we are, whatever addresses we have
	SA       *SASpec     `json:"sa,omitempty"`
	SAIDs    []string    `json:"saids,omitempty"`
	Eroute   *ErouteSpec `json:"eroute,omitempty"`
	Virtual  string      `json:"virtual,omitempty"`
	Physical string      `json:"physical,omitempty"`
}

// Reply is one line of an answer.
type Reply struct {
	Code int    `json:"code"`           // class number, printed as NNN; see codes.go
	Text string `json:"text,omitempty"` // one line without line ends

	// On the last reply only.
	Final  bool            `json:"final,omitempty"`
	Exit   Exit            `json:"exit,omitempty"`   // of auto and the short verbs
	Reason string          `json:"reason,omitempty"` // symbolic, "" when done
	JSON   json.RawMessage `json:"json,omitempty"`   // what a reading operation found
}
