package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
)

// FS is what the readers see of the file system. Names are slash-separated
// paths, absolute or relative to the process.
type FS interface {
	// Read returns the content of a regular file of at most limit octets,
	// and what the opened file (not its name) said of itself. A missing file
	// is fs.ErrNotExist.
	Read(name string, limit int) ([]byte, Info, error)
	// Glob returns the names that match a shell pattern, sorted.
	Glob(pattern string) ([]string, error)
}

// Info is what a file says of its own safety.
type Info struct {
	Mode     fs.FileMode // permission bits
	UID      uint32
	Trusted  bool   // UID is root's or our own
	Symlink  bool   // the name is a symbolic link
	LooseDir string // a directory on the way that others may write to
}

// Unsafe says why a file must not hold secrets, and the mend; empty if it may.
func (i Info) Unsafe(name string) (why, mend string) {
	switch {
	case i.Symlink:
		return "is a symbolic link", "put the file itself there"
	case i.LooseDir != "":
		return fmt.Sprintf("lies in directory %s, which others may write to", i.LooseDir), "chmod go-w " + i.LooseDir
	case !i.Trusted:
		return fmt.Sprintf("belongs to user %d, not to root", i.UID), "chown root " + name
	case i.Mode&0o077 != 0:
		return fmt.Sprintf("has mode %04o, open to group or others", i.Mode.Perm()), "chmod 600 " + name
	}
	return "", ""
}

// errTooLong is for a file beyond the limit of its kind.
type errTooLong struct{ limit int }

func (e errTooLong) Error() string { return fmt.Sprintf("is longer than %d octets", e.limit) }

// errNotRegular is for devices, pipes and directories.
var errNotRegular = errors.New("is not a regular file")

// MapFS is a file system in memory, for tests and for text that is not in
// files. Every file is root's and has mode 0600, unless Infos says otherwise.
type MapFS struct {
	Files map[string]string
	Infos map[string]Info
}

// Read implements FS.
func (m MapFS) Read(name string, limit int) ([]byte, Info, error) {
	text, ok := m.Files[path.Clean(name)]
	if !ok {
		return nil, Info{}, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if len(text) > limit {
		return nil, Info{}, &fs.PathError{Op: "read", Path: name, Err: errTooLong{limit}}
	}
	info, ok := m.Infos[path.Clean(name)]
	if !ok {
		info = Info{Mode: 0o600, Trusted: true}
	}
	return []byte(text), info, nil
}

// Glob implements FS.
func (m MapFS) Glob(pattern string) ([]string, error) {
	var found []string
	for name := range m.Files {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, name)
		}
	}
	sort.Strings(found)
	return found, nil
}

// hasWildcard reports whether a name is a pattern.
func hasWildcard(name string) bool { return strings.ContainsAny(name, "*?[") }

// relativeTo resolves an included name against the including file.
func relativeTo(file, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(path.Dir(file), name)
}

// reason strips the operation and name that a PathError repeats.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "no such file"
	}
	return err.Error()
}
