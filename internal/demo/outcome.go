package demo

import "cygnet/internal/lab"

// Outcome is what a scenario came to. Its JSON form is what `ipsec demo
// --json` prints.
type Outcome struct {
	Scenario  string            `json:"scenario"`
	Title     string            `json:"title"`
	OK        bool              `json:"ok"`
	Error     string            `json:"error,omitempty"`
	Skipped   string            `json:"skipped,omitempty"` // why it was not run; OK then
	Took      float64           `json:"seconds"`
	Timeline  []Entry           `json:"timeline"`
	Wires     []Crossed         `json:"wires"`
	Eroutes   []Table           `json:"eroutes"`
	Transfers []Throughput      `json:"transfers"`
	Logs      map[string]string `json:"logs,omitempty"` // of a failed run, by host

	lab *lab.Lab // of a run that was kept
}

// Entry is one step. Times are in seconds, At since the start.
type Entry struct {
	At     float64 `json:"at"`
	Took   float64 `json:"seconds"`
	Host   string  `json:"host"`
	Do     string  `json:"do"`
	OK     bool    `json:"ok"`
	Output string  `json:"output,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// Crossed is what crossed one outer wire, in frames; Protected in octets.
type Crossed struct {
	Wire      string `json:"wire"`
	IKE       uint64 `json:"ike"`
	ESP       uint64 `json:"esp"`
	ESPinUDP  uint64 `json:"esp_in_udp"`
	InTCP     uint64 `json:"in_tcp"` // IKE and ESP
	Protected uint64 `json:"protected_bytes"`
	Link      uint64 `json:"link"` // ARP, neighbour discovery, keep-alives
	Other     uint64 `json:"other"`
	Clear     uint64 `json:"clear"`
}

// Table is a listing of one gateway.
type Table struct {
	Host string `json:"host"`
	Text string `json:"text"`
}

// Throughput is one file moved.
type Throughput struct {
	From    string  `json:"from"`
	To      string  `json:"to"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
	Mbps    float64 `json:"mbit_per_second"`
}

// Teller hears a scenario as it happens. All calls come from one goroutine;
// a Progress may come from another while its step runs.
type Teller interface {
	Begin(s *Scenario)
	File(host, name, text string)
	Caption(text string)
	Start(e Entry) Progress
	Step(e Entry)
	End(o *Outcome)
}

// Silent is a Teller for those who only want the outcome.
type Silent struct{}

// Begin implements Teller.
func (Silent) Begin(*Scenario) {}

// File implements Teller.
func (Silent) File(_, _, _ string) {}

// Caption implements Teller.
func (Silent) Caption(string) {}

// Start implements Teller.
func (Silent) Start(Entry) Progress { return func(_, _ int64) {} }

// Step implements Teller.
func (Silent) Step(Entry) {}

// End implements Teller.
func (Silent) End(*Outcome) {}
