package config

import (
	"strings"
	"testing"
)

// R12.7 and R12.8: facility.priority and classes are checked where they stand.
func TestBootWords(t *testing.T) {
	for text, want := range map[string]string{
		"syslog=local3.notice":     "",
		"syslog=daemon.error":      "",
		"syslog=nowhere.error":     `"nowhere.error" is not facility.priority`,
		"syslog=daemon":            `"daemon" is not facility.priority`,
		"syslog=local8.info":       `"local8.info" is not facility.priority`,
		"plutodebug=all":           "",
		`plutodebug="raw control"`: "",
		"plutodebug=everything":    `there is no class "everything"`,
		"klipsdebug=none":          "",
		"klipsdebug=tunnel-xmit":   "",
		"klipsdebug=crypt":         `there is no class "crypt"`,
		"fragicmp=strict":          "",
		"fragicmp=perhaps":         `illegal fragicmp value "perhaps"`,
	} {
		f := ParseText("ipsec.conf", "version 2.0\nconfig setup\n\t"+text+"\n")
		switch err := f.Err(); {
		case want == "" && (err != nil || len(f.Warnings) > 0):
			t.Errorf("%s: %v %v", text, err, f.Warnings)
		case want != "" && (err == nil || !strings.Contains(err.Error(), "ipsec.conf:3: ") || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	for text, want := range map[string]int{"": 3<<3 | 3, "local3.notice": 19<<3 | 5, "authpriv.warn": 10<<3 | 4} {
		if got := (&Setup{Syslog: text}).SyslogNumber(); got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
}
