package uml

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Kernel is an installed kernel for user mode with its modules.
type Kernel struct {
	Path    string
	Modules string // directory that holds modules.dep
}

// ErrNoKernel: the Debian package user-mode-linux is not installed.
var ErrNoKernel = errors.New("no user-mode Linux kernel")

// Find looks for the kernel where Debian puts it.
func Find() (Kernel, error) {
	const program, modules = "/usr/bin/linux.uml", "/usr/lib/uml/modules"
	if _, err := os.Stat(program); err != nil {
		return Kernel{}, fmt.Errorf("%w: %w", ErrNoKernel, err)
	}
	deps, err := filepath.Glob(modules + "/*/modules.dep")
	if err != nil || len(deps) == 0 {
		return Kernel{}, fmt.Errorf("%w: no modules below %s", ErrNoKernel, modules)
	}
	return Kernel{program, filepath.Dir(deps[len(deps)-1])}, nil
}

// moduleFiles lists the files of modules by name with all that they depend on,
// in the order in which the kernel takes them. What is built in needs no file.
func moduleFiles(dir string, names []string) ([]string, error) {
	needs, err := dependencies(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	byName := map[string]string{}
	for file := range needs {
		byName[moduleName(file)] = file
	}
	have := map[string]bool{}
	for line := range strings.Lines(string(builtin)) {
		have[moduleName(strings.TrimSpace(line))] = true
	}
	var out []string
	for _, name := range names {
		file, ok := byName[moduleName(name)]
		if !ok && !have[moduleName(name)] {
			return nil, fmt.Errorf("kernel module %s: neither below %s nor built in", name, dir)
		}
		if !ok {
			continue
		}
		// modules.dep lists the nearest first.
		for i := len(needs[file]) - 1; i >= -1; i-- {
			f := file
			if i >= 0 {
				f = needs[file][i]
			}
			if n := moduleName(f); !have[n] {
				have[n] = true
				out = append(out, filepath.Join(dir, f))
			}
		}
	}
	return out, nil
}

// moduleName is the kernel's name for a module, whatever the file is called.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// dependencies reads modules.dep: lines of a file, a colon, the files it needs.
func dependencies(name string) (map[string][]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	needs := map[string][]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		file, rest, ok := strings.Cut(lines.Text(), ":")
		if ok {
			needs[file] = strings.Fields(rest)
		}
	}
	return needs, lines.Err()
}
