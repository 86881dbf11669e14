package main

import (
	"github.com/spf13/cobra"

	"cygnet/internal/whack"
)

func newLeases() *cobra.Command {
	c := showTable[whack.Leases](whack.OpLeases, "leases", "List the addresses that peers have from our pools")
	c.Long = `leases lists the ranges of rightaddresspool= with how many addresses are in use,
and then each address that a peer has, or that is kept for a peer that is away.
A peer that comes back gets the address it had, also after a restart: leases
are kept in leases.db in the state directory (/var/lib/ipsec). When nothing else
is left, the address that has been unused for longest goes to another.`
	return c
}
