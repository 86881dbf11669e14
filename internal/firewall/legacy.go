package firewall

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// legacyTables is where the kernel lists the tables of the old iptables.
var legacyTables = []string{"/proc/self/net/ip_tables_names", "/proc/self/net/ip6_tables_names"}

// Legacy reports whether this network namespace has a filter table of the old
// iptables (iptables-legacy). What its FORWARD chain drops we cannot open: no
// rule of nftables can be put there. `ipsec verify` warns of it.
func Legacy() (bool, error) { return legacyIn(legacyTables) }

func legacyIn(files []string) (bool, error) {
	for _, f := range files {
		b, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("list tables of iptables: %w", err)
		}
		if slices.Contains(strings.Fields(string(b)), "filter") {
			return true, nil
		}
	}
	return false, nil
}
