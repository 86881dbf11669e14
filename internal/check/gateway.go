package check

import (
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"cygnet/internal/config"
)

// Gateway is one configuration with all that belongs to it.
type Gateway struct {
	Conf    *config.File
	Secrets *config.Secrets
	Facts   *Facts // nil: nothing is known of the machine
	Now     time.Time

	fsys  *recorder
	conf  []string // files of the configuration, in order of their names
	owner owner
}

// Options say what belongs to a configuration file.
type Options struct {
	Facts *Facts
	Now   time.Time // for certificates; zero: none has expired
}

// Load reads a configuration file and the secrets next to it: what secretsfile=
// names, else NAME.secrets for NAME.conf, else ipsec.secrets.
func Load(fsys config.FS, name string, o Options) *Gateway {
	rec := &recorder{FS: fsys, files: make(map[string]*source)}
	g := &Gateway{Conf: config.Parse(rec, name), Facts: o.Facts, Now: o.Now, fsys: rec}
	g.conf = slices.Sorted(maps.Keys(rec.files))
	g.Secrets = config.ParseSecrets(rec, g.secretsFile(), config.SecretsOptions{
		PrivateDir: g.beside("private"), Warn: g.Conf.Setup.SecretsWarn,
	})
	if _, read := rec.files[g.secretsFile()]; !read { // that there are none is no news where none are needed
		g.Secrets.Warnings = nil
	}
	g.owner = findOwner(g)
	return g
}

// Know adds what is known of the machine. Which end of a connection it is may
// become known by that.
func (g *Gateway) Know(f *Facts) {
	g.Facts = f
	g.owner = findOwner(g)
}

func (g *Gateway) secretsFile() string {
	dir := path.Dir(g.Conf.Name)
	if s := g.Conf.Setup.SecretsFile; s != "" {
		return under(dir, s)
	}
	if base, ok := strings.CutSuffix(g.Conf.Name, ".conf"); ok {
		if _, _, err := g.fsys.FS.Read(base+".secrets", maxRead); err == nil {
			return base + ".secrets"
		}
	}
	return path.Join(dir, "ipsec.secrets")
}

// beside is the name of a directory below ipsec.d.
func (g *Gateway) beside(name string) string {
	dir := path.Dir(g.Conf.Name)
	if d := g.Conf.Setup.IPsecDir; d != "" {
		return path.Join(under(dir, d), name)
	}
	return path.Join(dir, "ipsec.d", name)
}

// under resolves a name against a directory.
func under(dir, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(dir, name)
}

// maxRead is the longest file that rules look at by themselves: certificates
// and policy groups.
const maxRead = 1 << 20

// source is a file that was read.
type source struct {
	text string
	info config.Info
}

// recorder keeps what is read through it.
type recorder struct {
	config.FS
	files map[string]*source
}

// Read implements config.FS.
func (r *recorder) Read(name string, limit int) ([]byte, config.Info, error) {
	b, info, err := r.FS.Read(name, limit)
	if err == nil {
		r.files[path.Clean(name)] = &source{string(b), info}
	}
	return b, info, err
}

// Files lists the files of the configuration, includes too.
func (g *Gateway) Files() []string { return slices.Clone(g.conf) }

// Opportunistic reports whether the configuration asks for opportunistic
// encryption, so that rules ask for Facts of DNS.
func (g *Gateway) Opportunistic() bool { return opportunistic(g) }

// Protected lists the nets behind this gateway.
func (g *Gateway) Protected() []netip.Prefix {
	var list []netip.Prefix
	for _, c := range g.conns() {
		for _, v := range g.views(c) {
			list = append(list, v.local.Subnets...)
		}
	}
	return list
}
