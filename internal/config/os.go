package config

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"syscall"
)

// This is the only file of the package that touches the system.

// OS is the file system of this machine.
type OS struct{}

// Read implements FS. Everything it says is about the file that it opened, not
// about the name, so nobody can exchange the file in between (CFG-10). Opening
// never waits, whatever the file is (CFG-09).
func (OS) Read(name string, limit int) ([]byte, Info, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, Info{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, Info{}, err
	}
	if !st.Mode().IsRegular() {
		return nil, Info{}, &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	info := Info{Mode: st.Mode().Perm(), Symlink: linked(name, st), LooseDir: looseDir(name)}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		info.UID = sys.Uid
		info.Trusted = sys.Uid == 0 || int(sys.Uid) == os.Geteuid()
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(data) > limit {
		err = &fs.PathError{Op: "read", Path: name, Err: errTooLong{limit}}
	}
	return data, info, err
}

// linked reports whether the name is not the opened file itself: a symbolic
// link, or something that has taken its place since.
func linked(name string, opened fs.FileInfo) bool {
	st, err := os.Lstat(name)
	return err != nil || !os.SameFile(st, opened)
}

// looseDir finds a directory above a file in which others may exchange names:
// one that group or others may write to and that is not sticky.
func looseDir(name string) string {
	abs, err := filepath.Abs(name)
	if err != nil {
		return name
	}
	for dir := filepath.Dir(abs); ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if err != nil {
			return dir
		}
		if st.Mode().Perm()&0o022 != 0 && st.Mode()&fs.ModeSticky == 0 {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// Glob implements FS.
func (OS) Glob(pattern string) ([]string, error) {
	names, err := filepath.Glob(pattern)
	sort.Strings(names)
	return names, err
}

// Dir is the directory of ipsec.conf, ipsec.secrets and ipsec.d: IPSEC_CONFS,
// or /etc.
func Dir() string {
	if dir := os.Getenv("IPSEC_CONFS"); dir != "" {
		return dir
	}
	return "/etc"
}

// Load reads ipsec.conf of a directory; Load("") that of Dir.
func Load(dir string) *File {
	if dir == "" {
		dir = Dir()
	}
	return LoadFile(filepath.Join(dir, "ipsec.conf"))
}

// LoadFile reads a configuration file.
func LoadFile(name string) *File { return Parse(OS{}, name) }

// IPsecDir is the directory of certificates and the like that belongs to a
// configuration in dir (as Load): ipsec.d, or what ipsecdir= names.
func IPsecDir(dir string, s *Setup) string {
	if dir == "" {
		dir = Dir()
	}
	switch {
	case s.IPsecDir == "":
		return filepath.Join(dir, "ipsec.d")
	case filepath.IsAbs(s.IPsecDir):
		return s.IPsecDir
	}
	return filepath.Join(dir, s.IPsecDir)
}

// LoadGroups reads the policy group files that belong to a configuration in dir
// (as Load): those of ipsec.d/policies.
func LoadGroups(dir string, f *File) *Groups {
	return ParseGroups(OS{}, filepath.Join(IPsecDir(dir, &f.Setup), "policies"), f)
}

// LoadSecrets reads the secrets that belong to a configuration in dir (as
// Load): ipsec.secrets, or what secretsfile= names, with private keys from
// ipsec.d/private or below ipsecdir=.
func LoadSecrets(dir string, s *Setup) *Secrets {
	if dir == "" {
		dir = Dir()
	}
	at := func(name, standard string) string {
		switch {
		case name == "":
			return filepath.Join(dir, standard)
		case filepath.IsAbs(name):
			return name
		}
		return filepath.Join(dir, name)
	}
	return ParseSecrets(OS{}, at(s.SecretsFile, "ipsec.secrets"), SecretsOptions{
		PrivateDir: filepath.Join(IPsecDir(dir, s), "private"),
		Warn:       s.SecretsWarn,
	})
}
