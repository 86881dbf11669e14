package keys

import (
	"fmt"
	"slices"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

var _ ike.PPKStore = (*Ring)(nil)

// PPK implements ike.PPKStore. Of several the connection's ppk-ids= decides,
// then which fits the ends best, then the order of the file.
func (r *Ring) PPK(c *ike.Conn, local, remote ike.ID, name string) (string, ipsec.Secret, error) {
	wanted := c.PPKIDs
	if name != "" {
		if len(wanted) > 0 && !slices.Contains(wanted, name) {
			return "", ipsec.Secret{}, fmt.Errorf("the peer names PPK %q, which is none of ppk-ids=", name)
		}
		wanted = []string{name}
	}
	var best *entry
	rank := func(e *entry) int { return slices.Index(wanted, e.PPKID) }
	most := noMatch
	p := pair{local, peerOf(c, remote)}
	table := r.entries()
	for i := range table {
		e := &table[i]
		if e.Kind != config.SecretPPK || len(wanted) > 0 && rank(e) < 0 {
			continue
		}
		s := e.score(p)
		if s == noMatch || best != nil && (rank(e) > rank(best) || rank(e) == rank(best) && s <= most) {
			continue
		}
		best, most = e, s
	}
	if best == nil {
		what := "PPK"
		if len(wanted) > 0 {
			what = fmt.Sprintf("PPK %q", wanted)
		}
		return "", ipsec.Secret{}, fmt.Errorf("no %s found for %s and %s", what, show(local), show(remote))
	}
	return best.PPKID, best.PPK, nil
}
