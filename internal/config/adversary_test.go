package config

import (
	"fmt"
	"strings"
	"testing"
)

// The name of a connection is letters, digits and . _ -, so it means nothing to
// a shell, a path, a format or a terminal; whatever else is refused, in one line
// that shows it quoted.
func TestAdv_CTL_05_Names(t *testing.T) {
	for _, name := range []string{"a;reboot", "%n%s%x", "../../etc/passwd", "$(reboot)", "`reboot`", "a'b", `a"b`, "a|b", "a>b", "/etc", "-rf", "a\x1b[2J", "a\rb", "a\u202eb", "a\\b", "..", "*"} {
		f := ParseText("ipsec.conf", "version 2.0\nconn "+name+"\n\tauto=add\n\tleft=192.0.2.1\n\tright=192.0.2.2\n")
		err := f.Err()
		if err == nil {
			t.Errorf("%q is a connection's name", name)
			continue
		}
		for _, c := range f.Conns {
			if c.Name == name {
				t.Errorf("%q is among the connections", name)
			}
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !strings.HasPrefix(line, "ipsec.conf:") || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x202e }) || strings.Contains(line, "%!") {
				t.Errorf("%q is told of as %q", name, line)
			}
		}
	}
	for _, name := range []string{"a", "west-east", "a.b_c-9"} {
		f := ParseText("ipsec.conf", fmt.Sprintf("version 2.0\nconn %s\n\tleft=192.0.2.1\n\tright=192.0.2.2\n", name))
		if err := f.Err(); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
