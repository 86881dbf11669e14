package check

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"cygnet/internal/config"
	"cygnet/internal/ike"
)

// secretBits is what a shared secret should be worth (R7.3).
const secretBits = 128

func exampleKeys(g *Gateway, out *found) { fromParser(g, out) }

// exposedFiles tells which files others may read, and offers to close them.
func exposedFiles(g *Gateway, out *found) {
	fromParser(g, out)
	// One line a file is enough, whatever number of keys it holds.
	out.list = slices.CompactFunc(out.list, func(a, b *Finding) bool { return a.File == b.File })
	for _, f := range out.list {
		s := g.fsys.files[path.Clean(f.File)]
		if s == nil || f.Edit != nil {
			continue
		}
		if i := s.info; i.Mode&0o077 != 0 && i.Trusted && !i.Symlink && i.LooseDir == "" {
			f.Edit = &Edit{Mode: 0o600}
		}
	}
}

// psks lists the shared secrets.
func (g *Gateway) psks() []*config.Secret {
	var list []*config.Secret
	for i := range g.Secrets.Entries {
		if e := &g.Secrets.Entries[i]; e.Kind == config.SecretPSK {
			list = append(list, e)
		}
	}
	return list
}

// secretFor finds the entry that the daemon would use for a connection, by the
// order of freeswan.md 3.4: a pair by name, by %any, our name alone, none. An
// identity of ours that is not known yet may be any.
func (g *Gateway) secretFor(v view) *config.Secret {
	var best *config.Secret
	most := 0
	for _, e := range g.psks() {
		if s := score(e, identity(v.local), identity(v.remote), v.remote.Host.Kind == config.HostAny); s > most {
			best, most = e, s
		}
	}
	return best
}

func score(e *config.Secret, local, remote ike.ID, template bool) int {
	if len(e.Index) == 0 {
		return 1
	}
	is := func(id ike.ID) bool {
		return slices.ContainsFunc(e.Index, func(i config.Index) bool { return !id.IsZero() && i.ID.Equal(id) })
	}
	wild := template && slices.ContainsFunc(e.Index, func(i config.Index) bool { return i.Any })
	switch ours := local.IsZero() || is(local); {
	case !ours:
		return 0
	case is(remote):
		return 4
	case wild:
		return 3
	case len(e.Index) == 1:
		return 2
	}
	return 0
}

// sharedByRoadWarriors finds secrets that several peers of unknown address use:
// several connections, or one that is meant for many.
func sharedByRoadWarriors(g *Gateway, out *found) {
	users := map[*config.Secret][]string{}
	for _, c := range g.tunnels() {
		if !pskConn(c) {
			continue
		}
		for _, v := range g.views(c) {
			e := g.secretFor(v)
			if e == nil || v.remote.Host.Kind != config.HostAny || !uses(v.remote, ike.AuthPSK) {
				continue
			}
			who := identity(v.remote).String()
			if !slices.Contains(users[e], who) || who == "" {
				users[e] = append(users[e], who)
			}
			if identity(v.remote).IsZero() && g.Conf.Setup.UniqueIDs == config.UniqueNo {
				users[e] = append(users[e], "any")
			}
		}
	}
	for _, e := range g.psks() {
		if n := len(users[e]); n > 1 {
			out.at(e.Where, "", fmt.Sprintf("this secret serves several road warriors (%d found)", n), "authby=rsasig with a key for each; or an entry with the rightid= of each, by IKEv2")
		}
	}
}

func weakSecrets(g *Gateway, out *found) {
	for _, e := range g.psks() {
		if bits := entropy(e.PSK.Bytes()); bits < secretBits {
			out.at(e.Where, "", fmt.Sprintf("the secret is worth at most about %d bits", int(bits)), "ipsec ranbits 256 makes one")
		}
	}
}

// reusedSecrets finds secrets that serve several pairs.
func reusedSecrets(g *Gateway, out *found) {
	pairs := g.pairs()
	first := map[string]*config.Secret{} // by the secret itself
	for _, e := range g.psks() {
		f := first[string(e.PSK.Bytes())]
		switch {
		case len(e.Index) > 2 || len(pairs[e]) > 1:
			out.at(e.Where, "", fmt.Sprintf("this entry is for several pairs (%s)", some(pairs[e])), "an entry with a secret of its own for each pair")
		case f == nil:
			first[string(e.PSK.Bytes())] = e
		case !slices.Equal(pairs[f], pairs[e]):
			out.at(e.Where, "", fmt.Sprintf("the same secret stands at %s:%d for another pair", f.Where.File, f.Where.Line), "a secret of its own: ipsec ranbits 256")
		}
	}
}

// some lists the first of many.
func some(list []string) string {
	const enough = 4
	if n := len(list); n > enough {
		return fmt.Sprintf("%s; and %d more", strings.Join(list[:enough], "; "), n-enough)
	}
	return strings.Join(list, "; ")
}

// reusedBetween finds secrets of one gateway that the other one has for another
// pair. Where one of them has it for both, that has been said.
func reusedBetween(a, b *Gateway, out *found) {
	there := map[string][]*config.Secret{}
	for _, f := range a.psks() {
		there[string(f.PSK.Bytes())] = append(there[string(f.PSK.Bytes())], f)
	}
	here := map[string]int{}
	for _, e := range b.psks() {
		here[string(e.PSK.Bytes())]++
	}
	p, q := a.pairs(), b.pairs()
	for _, e := range b.psks() {
		same := there[string(e.PSK.Bytes())]
		if here[string(e.PSK.Bytes())] > 1 || len(same) != 1 || len(p[same[0]]) != 1 || len(q[e]) != 1 {
			continue
		}
		f, theirs, ours := same[0], p[same[0]][0], q[e][0]
		if theirs != ours && !strings.Contains(theirs+ours, "%") { // %any may be anybody
			out.at(e.Where, "", fmt.Sprintf("the same secret stands at %s:%d for another pair (%s, here %s)", f.Where.File, f.Where.Line, theirs, ours), "a secret of its own: ipsec ranbits 256")
		}
	}
}

// pairs names whom each entry is for: the connections that use it, without road
// warriors, else what its index says.
func (g *Gateway) pairs() map[*config.Secret][]string {
	pairs := map[*config.Secret][]string{}
	for _, c := range g.tunnels() {
		if !pskConn(c) {
			continue
		}
		for _, v := range g.views(c) {
			if v.remote.Host.Kind == config.HostAny { // FW008 is about those
				continue
			}
			ends := []string{name(v.local), name(v.remote)}
			slices.Sort(ends)
			e := g.secretFor(v)
			if p := strings.Join(ends, " and "); e != nil && !slices.Contains(pairs[e], p) {
				pairs[e] = append(pairs[e], p)
			}
		}
	}
	for _, e := range g.psks() {
		if len(pairs[e]) == 0 && len(e.Index) > 0 {
			pairs[e] = []string{indexText(e)}
		}
	}
	return pairs
}

func indexText(e *config.Secret) string {
	var ends []string
	for _, i := range e.Index {
		switch {
		case i.Any:
			ends = append(ends, "%any")
		case i.Name != "":
			ends = append(ends, i.Name)
		default:
			ends = append(ends, i.ID.String())
		}
	}
	slices.Sort(ends)
	return strings.Join(ends, " and ")
}

// name is an end as a secret's index may call it.
func name(e *config.End) string {
	if id := identity(e); !id.IsZero() {
		return id.String()
	}
	switch e.Host.Kind {
	case config.HostName:
		return e.Host.Name
	case config.HostDefaultRoute:
		return defaultRoute
	}
	return "%any"
}

// sharedIdentity finds an identity that has one key here and another there.
func sharedIdentity(g *Gateway, out *found) {
	type holder struct {
		conn *config.Conn
		keys []ike.PublicKey
	}
	first := map[string]holder{}
	for _, c := range g.tunnels() {
		for _, v := range views(c) {
			id, keys := identity(v.remote), v.remote.Given()
			if id.IsZero() || len(keys) == 0 {
				continue
			}
			h, known := first[id.String()]
			if !known {
				first[id.String()] = holder{c, keys}
				continue
			}
			if !shareKey(h.keys, keys) {
				pos := at(c, v.remoteSide+"rsasigkey")
				out.at(pos, c.Name, fmt.Sprintf("%s has another key than in connection %q (%s:%d)", id, h.conn.Name, h.conn.Where.File, h.conn.Where.Line), "one key for both; while keys change, the new one as "+v.remoteSide+"rsasigkey2")
			}
		}
	}
}
