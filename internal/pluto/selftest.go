package pluto

import (
	"errors"
	"fmt"

	"cygnet/internal/connection"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

var errAllBroken = errors.New("self test: no algorithms are left that IKE could do with")

// selfTest finds algorithms that give wrong answers, says so, and refuses to go
// on where nothing is left to negotiate with.
func selfTest(o Options) ([]suite.Broken, error) {
	test := o.SelfTest
	if test == nil {
		test = suite.SelfTest
	}
	broken := test()
	for _, b := range broken {
		o.Log.Error(b.String() + ": it is not used; this binary or this machine is broken")
	}
	for _, p := range [][]suite.Proposal{suite.DefaultIKE(), suite.DefaultESP(false)} {
		if len(suite.Without(p, broken)) == 0 {
			return nil, errAllBroken
		}
	}
	return broken, nil
}

// withdraw takes broken algorithms out of what a connection proposes. What asked
// for nothing else is not loaded.
func (d *Daemon) withdraw(desc *connection.Description) error {
	if len(d.broken) == 0 {
		return nil
	}
	for _, x := range []struct {
		key  string
		list *[]suite.Proposal
	}{{"ike", &desc.IKE}, {"esp", &desc.ESP}, {"ah", &desc.AH}} {
		had := len(*x.list) > 0
		*x.list = suite.Without(*x.list, d.broken)
		if had && len(*x.list) == 0 {
			return fmt.Errorf("%q: all that %s= proposes has failed the self test", desc.Name, x.key)
		}
	}
	return nil
}

// failedTest says that an SA made by hand needs a broken algorithm.
func (d *Daemon) failedTest(sa ipsec.SA) error {
	for _, b := range d.broken {
		if b.Uses(sa.Transform.Encr, sa.Transform.Integ) {
			return errors.New(b.String())
		}
	}
	return nil
}
