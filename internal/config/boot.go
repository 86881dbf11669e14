package config

import (
	"fmt"
	"slices"
	"strings"
)

// plutoClasses are the words of plutodebug=: those of FreeS/WAN (freeswan.md
// 4.5), and those of its successors that old files have.
var plutoClasses = []string{"raw", "crypt", "parsing", "emitting", "control", "controlmore", "lifecycle", "klips", "pfkey", "dns", "oppo", "private",
	"kernel", "natt", "nat-t", "dpd", "x509", "oppoinfo", "whackwatch", "base", "cpu-usage", "tmi"}

// PlutoClasses lists the words of plutodebug=.
func PlutoClasses() []string { return slices.Clone(plutoClasses) }

// klipsClasses are the words of klipsdebug= (freeswan.md 4.12).
var klipsClasses = []string{"tunnel", "tunnel-xmit", "pfkey", "xform", "eroute", "spi", "netlink", "esp", "ah", "rcv", "ipcomp", "comp", "radij", "verbose"}

// classes is a list of classes, all of them, or none (R12.8).
func classes(at func(*Setup) *[]string, known []string) field[Setup] {
	f := list(at, "none")
	return field[Setup]{print: f.print, parse: func(s *Setup, v value) error {
		if err := f.parse(s, v); err != nil {
			return err
		}
		for _, c := range *at(s) {
			if c != "all" && !slices.Contains(known, strings.TrimPrefix(c, "--debug-")) {
				return mendable{fmt.Errorf("there is no class %q", c), "none, all or some of " + strings.Join(known, ", ")}
			}
		}
		return nil
	}}
}

// The words of syslog=, in the order of their numbers (syslog(3)).
var (
	facilities = []string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"}
	priorities = []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
	synonyms   = map[string]string{"error": "err", "warn": "warning", "panic": "emerg", "security": "auth"}
)

// firstLocal is the number of the facility local0.
const firstLocal = 16

// SyslogNumber is the number of syslog=, facility and priority together as
// syslog(3) has them.
func (s *Setup) SyslogNumber() int {
	n, err := syslogNumber(s.Syslog)
	if err != nil { // Syslog was not read from a file
		return slices.Index(facilities, "daemon")<<3 | slices.Index(priorities, "err")
	}
	return n
}

func syslogNumber(text string) (int, error) {
	facility, priority, _ := strings.Cut(text, ".")
	if s, ok := synonyms[facility]; ok {
		facility = s
	}
	if s, ok := synonyms[priority]; ok {
		priority = s
	}
	f, p := slices.Index(facilities, facility), slices.Index(priorities, priority)
	if rest, ok := strings.CutPrefix(facility, "local"); ok && len(rest) == 1 && rest[0] >= '0' && rest[0] <= '7' {
		f = firstLocal + int(rest[0]-'0')
	}
	if f < 0 || p < 0 {
		return 0, mendable{fmt.Errorf("%q is not facility.priority", text), "as daemon.error or local3.notice"}
	}
	return f<<3 | p, nil
}

var syslogField = field[Setup]{
	parse: func(s *Setup, v value) error {
		_, err := syslogNumber(v.text)
		if err == nil {
			s.Syslog = v.text
		}
		return err
	},
	print: func(s *Setup) string { return s.Syslog },
}
