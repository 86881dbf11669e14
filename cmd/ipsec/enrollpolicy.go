package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"cygnet/internal/config"
	"cygnet/internal/whack"
)

// checkPolicy looks at --policy and --group before anything is done: a line that
// cannot be read would keep the daemon from reading all groups.
func (o *enrolment) checkPolicy() error {
	for _, line := range o.policy {
		switch list, err := config.ParseGroupLine(line); {
		case err != nil:
			return fail(whack.ExitUsage, "--policy %q: %w", line, err)
		case len(list) == 0:
			return fail(whack.ExitUsage, "--policy %q: write a network, like 10.0.0.0/8", line)
		}
	}
	if len(o.policy) == 0 {
		return nil
	}
	if c := config.Load(where().conf).Conn(o.group); c == nil || !c.Group() {
		return fail(whack.ExitUsage, "--group %s: there is no policy group of that name", o.group)
	}
	return nil
}

// policyDir is where policy groups are.
func policyDir() string {
	setup := config.Load(where().conf).Setup
	return filepath.Join(config.IPsecDir(where().conf, &setup), "policies")
}

// addPolicy adds the lines whose entries a group does not have yet. The file keeps
// its mode; a new one can be read by all, for there is no secret in it.
func addPolicy(file string, lines []string) (added int, err error) {
	text, err := os.ReadFile(file)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return 0, err
	}
	have := map[config.GroupEntry]bool{}
	for line := range strings.Lines(string(text)) {
		list, _ := config.ParseGroupLine(line) // what is wrong with the others the daemon tells
		for _, e := range list {
			have[e] = true
		}
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	for _, line := range lines {
		list, err := config.ParseGroupLine(line)
		if err != nil {
			return 0, err
		}
		news := false
		for _, e := range list {
			news = news || !have[e]
			have[e] = true
		}
		if news {
			text = append(text, line+"\n"...)
			added++
		}
	}
	if added == 0 {
		return 0, nil
	}
	if missing {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return 0, err
		}
		if err := errors.Join(os.WriteFile(file, nil, 0o644), os.Chmod(file, 0o644)); err != nil { // whatever the umask
			return 0, err
		}
	}
	return added, replaceFile(file, string(text))
}
