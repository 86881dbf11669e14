package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/whack"
)

// What `ipsec auto --show` prints: the whack commands that amount to the same
// (freeswan.md 4.3). What FreeS/WAN's whack had no word for is said by --set.

// show prints the commands of an operation.
func (o *autoOptions) show(out io.Writer, op operation, name string) error {
	var words []string
	switch op.op {
	case whack.OpAdd, whack.OpReplace:
		conns, err := o.conns(name)
		if err != nil {
			return err
		}
		for _, c := range conns {
			words := append([]string{"--name", c.Name}, connWords(c)...)
			if op.op == whack.OpReplace {
				words = append(words, "--delete")
			}
			printWhack(out, words)
		}
		return nil
	case opListAll:
		for _, each := range listAll {
			printWhack(out, []string{"--" + string(each)})
		}
		return nil
	case whack.OpUp:
		words = []string{"--name", name, "--initiate"}
		if o.async {
			words = append(words, "--asynchronous")
		}
	case whack.OpDown:
		words = []string{"--name", name, "--terminate"}
	case whack.OpDelete, whack.OpRoute, whack.OpUnroute:
		words = []string{"--name", name, "--" + op.flag}
	case whack.OpListen:
		words = []string{"--listen"}
	default:
		words = []string{"--" + op.flag}
	}
	printWhack(out, words)
	return nil
}

func printWhack(out io.Writer, words []string) {
	line := "ipsec whack"
	for _, w := range words {
		line += " " + shellWord(w)
	}
	fmt.Fprintln(out, line)
}

// shellWord quotes a word that a shell would take apart.
func shellWord(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%+=:,./_-", r)
	}
	if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

// conns finds the connections of a name in the configuration.
func (o *autoOptions) conns(name string) ([]*config.Conn, error) {
	var file *config.File
	if o.config != "" {
		file = config.Parse(config.OS{}, o.config)
	} else {
		file = config.Load(where().conf)
	}
	conns := file.Named(name)
	if len(conns) > 0 {
		return conns, nil
	}
	if p := file.Problem(name); p != nil {
		return nil, fail(whack.ExitConfig, "%w", p)
	}
	return nil, fail(whack.ExitNoConn, "%s has no connection %q", file.Name, name)
}

// connWords are the options that define a connection.
func connWords(c *config.Conn) []string {
	var ends [2][]string
	var list, sets []string
	for line := range strings.Lines(c.String()) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"`)
		if !ok || ownWords[key] { // the header, or said below
			continue
		}
		if i, flag := endWord(key); flag != "" {
			ends[i] = append(ends[i], "--"+flag, value)
		} else if flag := switchWord(key + "=" + value); flag != "" {
			list = append(list, "--"+flag)
		} else {
			sets = append(sets, "--set", key+"="+value)
		}
	}
	list = append(list, methodWords(c)...)
	seconds := func(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
	list = append(list, "--ikelifetime", seconds(c.IKELifetime), "--ipseclifetime", seconds(c.KeyLife),
		"--rekeymargin", seconds(c.RekeyMargin), "--rekeyfuzz", strconv.Itoa(c.RekeyFuzz), "--keyingtries", strconv.Itoa(c.KeyingTries))
	words := append(ends[0], "--to")
	words = append(words, ends[1]...)
	return append(append(words, list...), sets...)
}

// ownWords are the parameters that methodWords and connWords say whatever their
// value.
var ownWords = map[string]bool{"authby": true, "phase2": true, "pfs": true, "type": true,
	"ikelifetime": true, "keylife": true, "rekeymargin": true, "rekeyfuzz": true, "keyingtries": true}

func endWord(key string) (end int, flag string) {
	for i, side := range []string{"left", "right"} {
		rest, ok := strings.CutPrefix(key, side)
		for _, o := range endOptions {
			if ok && rest == o.key {
				return i, o.flag
			}
		}
	}
	return 0, ""
}

func switchWord(line string) string {
	for _, o := range connSwitches {
		if o.line == line {
			return o.flag
		}
	}
	return ""
}

// methodWords say how the ends prove themselves and what protects the packets.
func methodWords(c *config.Conn) []string {
	var list []string
	never := len(c.AuthBy) == 1 && c.AuthBy[0] == ike.AuthNever
	known := never
	switch text := setting(c, "authby"); text {
	case "rsasig", "": // the default is not printed
		list, known = append(list, "--rsasig"), true
	case "secret":
		list, known = append(list, "--psk"), true
	case "rsasig|secret":
		list, known = append(list, "--psk", "--rsasig"), true
	}
	if !known {
		list = append(list, "--set", "authby="+setting(c, "authby"))
	}
	shunts := map[config.Type]string{config.TypePassthrough: "--pass", config.TypeDrop: "--drop", config.TypeReject: "--reject"}
	switch shunt := shunts[c.Type]; {
	case shunt != "":
		list = append(list, shunt)
	case c.Type == config.TypeTunnel:
		list = append(list, "--tunnel")
	}
	switch setting(c, "phase2") {
	case "ah":
		list = append(list, "--authenticate")
	case "ah+esp":
		list = append(list, "--encrypt", "--authenticate")
	default:
		if !never {
			list = append(list, "--encrypt")
		}
	}
	if c.PFS {
		list = append(list, "--pfs")
	}
	return list
}

// setting is a parameter as the section prints it; empty: the default.
func setting(c *config.Conn, key string) string {
	for line := range strings.Lines(c.String()) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && k == key {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}
