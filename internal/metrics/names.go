package metrics

// MaxNames is how many connections are shown by name. Each costs a scrape three
// lines and the one who stores them three series; a gateway with more is watched by
// its sums.
const MaxNames = 500

// Other is the name under which all others are shown together.
const Other = "other"

// Names bounds the values of the label connection. The zero value is ready to use.
// It is not safe for concurrent use.
type Names struct {
	known map[string]bool
}

// Label is what name is shown as: the first MaxNames names keep their own for good,
// so that no counter ever moves from one label to another.
func (n *Names) Label(name string) string {
	switch {
	case n.known[name]:
		return name
	case len(n.known) >= MaxNames || name == Other:
		return Other
	}
	if n.known == nil {
		n.known = make(map[string]bool)
	}
	n.known[name] = true
	return name
}
