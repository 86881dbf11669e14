package main

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"cygnet/internal/lab"
)

const wireGuardModule = "golang.zx2c4.com/wireguard"

// upWireGuard runs wireguard-go on both gateways and configures it through its
// own control socket.
func upWireGuard(ctx context.Context, l *lab.Lab, _ string) ([]int, error) {
	daemon := filepath.Join(l.Dir(), "wireguard-go")
	if err := buildModule(ctx, wireGuardModule, daemon); err != nil {
		return nil, err
	}
	type side struct {
		host, dev string
		addr      netip.Addr
		net       netip.Prefix
		key       *ecdh.PrivateKey
	}
	sides := []side{
		{host: "west", dev: "wgw", addr: lab.West, net: lab.WestNet},
		{host: "east", dev: "wge", addr: lab.East, net: lab.EastNet},
	}
	for i := range sides {
		var err error
		if sides[i].key, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return nil, err
		}
	}
	var pids []int
	for i, me := range sides {
		peer, h := sides[1-i], l.Host(me.host)
		p, err := h.Start(exec.Command(daemon, "-f", me.dev), filepath.Join(l.Dir(), me.dev+".log"))
		if err != nil {
			return nil, err
		}
		pids = append(pids, p.Pid)
		conf := fmt.Sprintf("set=1\nprivate_key=%s\nlisten_port=51820\npublic_key=%s\nendpoint=%s:51820\nallowed_ip=%s\n\n",
			hex.EncodeToString(me.key.Bytes()), hex.EncodeToString(peer.key.PublicKey().Bytes()), peer.addr, peer.net)
		if err := wireGuardSet("/var/run/wireguard/"+me.dev+".sock", conf); err != nil {
			return nil, err
		}
		for _, args := range [][]string{
			{"link", "set", me.dev, "up"},
			{"route", "add", peer.net.String(), "dev", me.dev},
		} {
			if err := must(h.Run(ctx, nil, "ip", args...)); err != nil {
				return nil, err
			}
		}
	}
	return pids, nil
}

func wireGuardSet(socket, conf string) error {
	var c net.Conn
	var err error
	if !lab.WaitFor(5*time.Second, func() bool {
		c, err = net.Dial("unix", socket)
		return err == nil
	}) {
		return fmt.Errorf("wireguard-go does not answer: %w", err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, conf); err != nil {
		return err
	}
	answer := make([]byte, 128)
	n, err := c.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "errno=0") {
		return fmt.Errorf("wireguard-go refuses its configuration: %q %w", answer[:n], err)
	}
	return nil
}
