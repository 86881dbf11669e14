package main

import (
	"github.com/spf13/cobra"

	"cygnet/internal/demo"
)

// commands lists the family in the order of `ipsec --help'.
func commands() []*cobra.Command {
	list := []*cobra.Command{
		newSetup(),
		newAuto(),
		newWhack(),
		newPluto(),
		newManual(),
		newKlips(),
		newEroute(),
		newSpi(),
		newSpigrp(),
		newTncfg(),
		newKlipsdebug(),
		newLook(),
		newPolicy(),
		newTrafficstatus(),
		newWhy(),
		newLeases(),
		newVerify(),
		newCheck(),
		newSimulate(),
		newRanbits(),
		newRsasigkey(),
		newNewhostkey(),
		newShowhostkey(),
		newOE(),
		newMailkey(),
		newEnroll(),
		newLivetest(),
		newCA(),
		newBarf(),
		newKeycensor(),
		newSecretcensor(),
		demo.NewCommand(),
		newDnslab(),
		newUpdown(),
		newShowdefaults(),
		newMan(),
		newVersion(),
		newSecrets(),
		newIkeping(),
	}
	return append(append(list, shortVerbs()...), setupVerbs()...)
}
