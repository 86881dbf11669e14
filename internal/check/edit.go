package check

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Edit is a change that means the same as before, or only takes rights away:
// part of one line, or the mode of a file.
type Edit struct {
	Line int    `json:"line,omitempty"`
	Old  string `json:"old,omitempty"` // stands in the line
	New  string `json:"new,omitempty"`

	Mode fs.FileMode `json:"mode,omitempty"` // not 0: nothing but this
}

// Apply makes the edits that findings have for one file and returns its new
// text, and its new mode if that changes (0: it does not). All other octets
// stay as they are, comments and layout too. An edit whose line has changed in
// the meantime is an error.
func Apply(text string, file string, findings []Finding) (string, fs.FileMode, error) {
	lines := strings.SplitAfter(text, "\n")
	var mode fs.FileMode
	var done []Edit
	for _, f := range findings {
		if f.File != file || f.Edit == nil || slices.Contains(done, *f.Edit) {
			continue
		}
		e := *f.Edit
		done = append(done, e)
		if e.Mode != 0 {
			mode = e.Mode
			continue
		}
		if e.Line < 1 || e.Line > len(lines) || !strings.Contains(lines[e.Line-1], e.Old) {
			return "", 0, fmt.Errorf("%s:%d: %q does not stand there any more", file, e.Line, e.Old)
		}
		lines[e.Line-1] = strings.Replace(lines[e.Line-1], e.Old, e.New, 1)
	}
	return strings.Join(lines, ""), mode, nil
}
