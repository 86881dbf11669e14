package main

import (
	"slices"
	"testing"

	"cygnet/internal/config"
	"cygnet/internal/host"
)

// A restart keeps the devices that interfaces= names and touches none of others.
func TestUnnamedDevices(t *testing.T) {
	links := []host.Interface{{Name: "eth0"}, {Name: "ipsec0"}, {Name: "ipsec1"}, {Name: "ipsec12"}, {Name: "ipsecx"}}
	got := unnamed(links, []config.Interface{{Virtual: "ipsec0", Physical: "eth0"}, {Virtual: "ipsec12", Physical: "eth1"}})
	if !slices.Equal(got, []string{"ipsec1"}) {
		t.Errorf("%v go", got)
	}
}
