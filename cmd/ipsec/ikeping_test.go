package main

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"cygnet/internal/whack"
)

// A peer that answers is told from a port where nobody is. The answering one is
// a socket that returns what a daemon has to: its header in a version it knows.
func TestIkeping(t *testing.T) {
	daemon, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	asked := make(chan []byte, 1)
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := daemon.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			select {
			case asked <- append([]byte(nil), buf[:n]...):
			default:
			}
			answer := append([]byte(nil), buf[:28]...)
			answer[17] = 2 << 4
			_, _ = daemon.WriteToUDPAddrPort(answer, from)
		}
	}()
	nobody, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	closed := strings.Replace(nobody.LocalAddr().String(), ":", "/", 1)
	nobody.Close()

	r := runIpsec(t, "ikeping", strings.Replace(daemon.LocalAddr().String(), ":", "/", 1), closed)
	if r.code != 0 || strings.Count(r.out, ": answers\n") != 1 || !strings.Contains(r.out, "2 asked, 1 answered\n") {
		t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	if head := <-asked; len(head) < 28 || head[17]>>4 != 3 {
		t.Errorf("asked with % x", head)
	}
	if r := runIpsec(t, "ikeping", closed); r.code != int(whack.ExitFailed) || !strings.Contains(r.out, "no answer") {
		t.Errorf("nobody there: exit %d\n%s%s", r.code, r.out, r.err)
	}
	for _, wrong := range []string{"127.0.0.1/0", "127.0.0.1/x", "127.0.0.1/70000"} {
		if r := runIpsec(t, "ikeping", wrong); r.code != int(whack.ExitUsage) || !strings.Contains(r.err, "is not a port") {
			t.Errorf("%s: exit %d, %s", wrong, r.code, r.err)
		}
	}
}
