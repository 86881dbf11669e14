package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"cygnet/internal/lab"
)

// subject is one implementation of a tunnel between west and east.
type subject struct {
	name string
	up   func(ctx context.Context, l *lab.Lab, binary string) (daemons []int, err error)
}

// The first one is what the others are compared with.
var subjects = []subject{
	{"cygnet", upCygnet},
	{"wireguard-go", upWireGuard},
	{"strongswan", upStrongSwan},
	{"plain", upPlain},
}

func names() []string {
	var n []string
	for _, s := range subjects {
		n = append(n, s.name)
	}
	return n
}

const cygnetConf = `version 2
config setup
	interfaces="ipsec0=eth0"
	logfile=%s

conn west-east
	left=101.101.101.101
	leftsubnet=192.168.100.0/24
	leftnexthop=101.101.101.1
	right=202.202.202.202
	rightsubnet=192.168.200.0/24
	rightnexthop=202.202.202.1
	authby=secret
	auto=add
`

const cygnetSecrets = `101.101.101.101 202.202.202.202 : PSK "0x6d1f0c9a_77e2b305_c8a4410e_19fb5d62"
`

func upCygnet(ctx context.Context, l *lab.Lab, binary string) ([]int, error) {
	var pids []int
	for _, name := range []string{"west", "east"} {
		g, err := lab.NewGateway(l.Host(name), binary)
		if err != nil {
			return nil, err
		}
		if err := g.Write("ipsec.conf", fmt.Sprintf(cygnetConf, g.Log())); err != nil {
			return nil, err
		}
		if err := g.Write("ipsec.secrets", cygnetSecrets); err != nil {
			return nil, err
		}
		if err := must(g.Ipsec(ctx, "setup", "start")); err != nil {
			return nil, err
		}
		pids = append(pids, g.PlutoPid())
		if name == "east" {
			if err := must(g.Ipsec(ctx, "auto", "--up", "west-east")); err != nil {
				return nil, err
			}
		}
	}
	return pids, nil
}

// upPlain is no tunnel at all: the router between knows the inside networks.
func upPlain(ctx context.Context, l *lab.Lab, _ string) ([]int, error) {
	nic := l.Host("nic")
	if err := nic.AddRoute(lab.WestNet, lab.West); err != nil {
		return nil, err
	}
	return nil, nic.AddRoute(lab.EastNet, lab.East)
}

// must turns a failed command into an error with its output.
func must(r lab.Result, err error) error {
	if err == nil && r.Exit != 0 {
		err = fmt.Errorf("exit %d: %s", r.Exit, r.Output())
	}
	return err
}

// buildModule compiles a main package of a module in go.mod.
func buildModule(ctx context.Context, pkg, out string) error {
	c := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
	if b, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", filepath.Base(out), err, b)
	}
	return nil
}
