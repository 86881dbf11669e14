package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"cygnet/internal/config"
	"cygnet/internal/whack"
)

// whackConn is a connection that is defined by the words of a whack command
// (freeswan.md 4.4). They become a section of ipsec.conf, which is checked and
// loaded like any other.
type whackConn struct {
	ends   [2][]string // lines for left, and after --to for right
	at     int
	values map[string]string // of the options that stand for one parameter
	on     map[string]bool   // of the options without a value
	set    []string          // KEY=VALUE of --set
}

// endOptions are those of an end, with the parameter that each stands for.
var endOptions = []struct{ flag, key, help string }{
	{"host", "", "end: its address, %any, %defaultroute, %group, ..."},
	{"id", "id", "end: its identity"},
	{"nexthop", "nexthop", "end: the first hop towards the other one"},
	{"client", "subnet", "end: the subnet that it protects"},
	{"clientwithin", "subnetwithin", "end: the subnet that has the one it may protect"},
	{"clientprotoport", "protoport", "end: protocol/port"},
	{"cert", "cert", "end: file of its certificate"},
	{"ca", "ca", "end: who must have issued it"},
	{"ikeport", "ikeport", "end: UDP port of its IKE"},
	{"updown", "updown", "end: command in place of our own routing"},
	{"pubkey", "rsasigkey", "end: its public key, as leftrsasigkey="},
}

// connOptions have a value and stand for one parameter; whack has defaults of its
// own for them.
var connOptions = []struct{ flag, key, def, help string }{
	{"ikelifetime", "ikelifetime", "3600", "seconds"},
	{"ipseclifetime", "keylife", "28800", "seconds"},
	{"rekeymargin", "rekeymargin", "540", "seconds"},
	{"rekeyfuzz", "rekeyfuzz", "100", "percent"},
	{"keyingtries", "keyingtries", "3", "attempts; 0: no limit"},
}

// connSwitches have no value; parameter empty: see lines.
var connSwitches = []struct{ flag, line, help string }{
	{"psk", "", "the ends prove themselves by a shared secret"},
	{"rsasig", "", "the ends prove themselves by public keys"},
	{"encrypt", "", "protect by ESP"},
	{"authenticate", "", "protect by AH; with --encrypt by both"},
	{"tunnel", "", "tunnel mode"},
	{"pfs", "", "a key exchange for every IPsec SA"},
	{"compress", "compress=yes", "compress packets"},
	{"disablearrivalcheck", "disablearrivalcheck=yes", "accept any inner address"},
	{"dontrekey", "rekey=no", "let SAs end"},
	{"initiateontraffic", "", "wait for traffic, which is the default"},
	{"pass", "type=passthrough", "packets go in the clear"},
	{"drop", "type=drop", "packets are dropped"},
	{"reject", "type=reject", "packets are refused"},
	{"failnone", "failureshunt=none", "a failed negotiation changes nothing"},
	{"failpass", "failureshunt=passthrough", "after a failed negotiation packets go in the clear"},
	{"faildrop", "failureshunt=drop", "after a failed negotiation packets are dropped"},
	{"failreject", "failureshunt=reject", "after a failed negotiation packets are refused"},
	{"ikev1", "keyexchange=ikev1", "by IKEv1"},
	{"ikev2", "keyexchange=ikev2", "by IKEv2, which is the default"},
	{"ipv4", "", "accepted for old scripts: addresses say what they are"},
	{"ipv6", "", "accepted for old scripts"},
	{"tunnelipv4", "", "accepted for old scripts"},
	{"tunnelipv6", "", "accepted for old scripts"},
}

// word is an option whose value is taken as it comes, in the order of the
// command line.
type word struct {
	take func(string) error
	kind string
}

func (w word) String() string     { return "" }
func (w word) Set(v string) error { return w.take(v) }
func (w word) Type() string       { return w.kind }

func newWhackConn(c *cobra.Command) *whackConn {
	w := &whackConn{values: map[string]string{}, on: map[string]bool{}}
	f := c.Flags()
	for _, o := range endOptions {
		f.Var(word{func(v string) error { return w.end(o.key, v) }, "string"}, o.flag, o.help)
	}
	f.Var(word{func(string) error { return w.end("rsasigkey", "%dnsondemand") }, "bool"}, "dnskeyondemand", "end: its public key is asked of the DNS")
	f.Lookup("dnskeyondemand").NoOptDefVal = "true"
	f.Var(word{func(string) error { w.at++; return nil }, "bool"}, "to", "what follows is about the other end")
	f.Lookup("to").NoOptDefVal = "true"
	for _, o := range connOptions {
		f.Var(word{func(v string) error { w.values[o.key] = v; return nil }, "string"}, o.flag, o.help+" (default "+o.def+")")
	}
	for _, o := range connSwitches {
		f.Var(word{func(string) error { w.on[o.flag] = true; return nil }, "bool"}, o.flag, o.help)
		f.Lookup(o.flag).NoOptDefVal = "true"
	}
	f.Var(word{func(v string) error { w.set = append(w.set, v); return nil }, "KEY=VALUE"}, "set", "any other parameter of ipsec.conf; may be given several times")
	return w
}

func (w *whackConn) end(key, value string) error {
	if w.at > 1 {
		return fmt.Errorf("there are two ends, and --to stands once between them")
	}
	w.ends[w.at] = append(w.ends[w.at], key+"="+value)
	return nil
}

// given reports whether the command defines a connection.
func (w *whackConn) given() bool {
	return w.at > 0 || len(w.ends[0])+len(w.values)+len(w.on)+len(w.set) > 0
}

// section is the connection as ipsec.conf has it.
func (w *whackConn) section(name string) (string, error) {
	lines, err := w.lines()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "version 2\n\nconn %s\n", name)
	for _, l := range lines {
		key, value, ok := strings.Cut(l, "=")
		if !ok || strings.ContainsAny(l, "\"\n\r") {
			return "", fmt.Errorf("%q is not KEY=VALUE without quotes", l)
		}
		fmt.Fprintf(&b, "\t%s=\"%s\"\n", key, value)
	}
	return b.String(), nil
}

func (w *whackConn) lines() ([]string, error) {
	var list []string
	for i, side := range []string{"left", "right"} {
		for _, l := range w.ends[i] {
			list = append(list, side+l)
		}
	}
	for _, o := range connOptions {
		value, given := w.values[o.key]
		if !given {
			value = o.def
		}
		if o.key == "rekeyfuzz" {
			value += "%"
		}
		list = append(list, o.key+"="+value)
	}
	for _, o := range connSwitches {
		if o.line != "" && w.on[o.flag] {
			list = append(list, o.line)
		}
	}
	shunt := w.on["pass"] || w.on["drop"] || w.on["reject"]
	if !shunt {
		list = append(list, choose(w.on["tunnel"], "type=tunnel", "type=transport"))
	}
	list = append(list, choose(w.on["pfs"], "pfs=yes", "pfs=no"))
	switch {
	case w.on["encrypt"] && w.on["authenticate"]:
		list = append(list, "phase2=ah+esp")
	case w.on["authenticate"]:
		list = append(list, "phase2=ah")
	case !w.on["encrypt"] && !shunt:
		return nil, fmt.Errorf("neither --encrypt nor --authenticate is given: a connection of IKE alone carries nothing")
	}
	switch {
	case w.on["psk"] && w.on["rsasig"]:
		list = append(list, "authby=secret|rsasig")
	case w.on["psk"]:
		list = append(list, "authby=secret")
	case w.on["rsasig"]:
		list = append(list, "authby=rsasig")
	case !w.sets("authby"):
		list = append(list, "authby=never")
	}
	return append(list, w.set...), nil
}

func (w *whackConn) sets(key string) bool {
	for _, s := range w.set {
		if strings.HasPrefix(s, key+"=") {
			return true
		}
	}
	return false
}

func choose(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// define writes the connection to a file that the daemon can load it from, and
// returns its path. The caller removes it.
func (w *whackConn) define(name string) (path string, err error) {
	if name == "" {
		return "", fail(whack.ExitUsage, "a connection needs a --name")
	}
	text, err := w.section(name)
	if err != nil {
		return "", fail(whack.ExitUsage, "%w", err)
	}
	f := config.ParseText("whack", text)
	if p := f.Problem(name); p != nil { // without a place: the file is nobody's
		return "", fail(whack.ExitFailed, "%s: %s", p.Key, p.Text)
	}
	file, err := os.CreateTemp("", "whack-*.conf")
	if err != nil {
		return "", err
	}
	_, err = file.WriteString(text)
	if failed := file.Close(); err == nil {
		err = failed
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return file.Name(), err
}
