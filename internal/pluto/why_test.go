package pluto

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"cygnet/internal/whack"
	"cygnet/internal/why"
)

// why asks for the explanation of a connection.
func (g *gateway) whyNot(name string) (*why.Connection, string) {
	g.t.Helper()
	var lines []string
	final := g.Do(context.Background(), whack.Request{Op: whack.OpWhy, Args: whack.Args{Name: name}}, func(r whack.Reply) { lines = append(lines, r.Text) })
	if final.Exit != whack.ExitDone {
		g.t.Fatalf("why %s: %+v", name, final)
	}
	doc := g.show(whack.OpWhy, name)
	var d why.Document
	if err := json.Unmarshal(doc, &d); err != nil || len(d.Connections) != 1 {
		g.t.Fatalf("why %s: %v, %s", name, err, doc)
	}
	return d.Connections[0], strings.Join(lines, "\n")
}

// show returns what a reading operation prints as JSON.
func (g *gateway) show(op whack.Op, name string) (doc json.RawMessage) {
	g.handle(context.Background(), whack.Peer{}, whack.Request{Op: op, Args: whack.Args{Name: name}}, func(r whack.Reply) error {
		if r.Final {
			doc = r.JSON
		}
		return nil
	})
	return doc
}

// Each kind of mismatch is explained on the side that refuses, with the edit for
// its own file; and with that edit the connection comes up. The explanation is
// still there hours later, and gone when it has helped.
func TestWhy(t *testing.T) {
	for _, x := range []struct {
		name, west, east  string
		reason, what, key string
	}{
		{"ike", "ike=aes128-sha2_256-modp3072", "ike=aes256-sha2_512-modp2048", "proposal", "encryption", "ike"},
		{"ike of one kind", "ike=aes256-sha2_256-ecp384", "ike=aes256-sha2_256-modp2048", "proposal", "key exchange", "ike"},
		{"esp", "esp=aes128-sha2_256", "esp=aes256gcm16", "proposal", "encryption", "esp"},
		{"selectors", "leftsubnet=10.1.0.0/25", "auto=add", "selectors", "the peer's net", "leftsubnet"},
		{"identity", "leftid=@someone.else", "auto=add", "authentication", "the peer's identity", "leftid"},
	} {
		t.Run(x.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pair) {
				p.west.secrets, p.east.secrets = ": PSK \"a secret of the two, long enough to be one\"\n", ": PSK \"a secret of the two, long enough to be one\"\n"
				p.west.start(setup + tunnel("net", "auto=add", "keyingtries=1", "retransmit-timeout=4s", x.west))
				p.east.start(setup + tunnel("net", "auto=add", x.east))
				if _, final := p.west.do(whack.OpUp, "net"); final.Exit == whack.ExitDone {
					t.Fatal("it came up")
				}
				time.Sleep(7 * time.Hour)
				ours, text := p.west.whyNot("net")
				if len(ours.Failures) != 1 || ours.Failures[0].Initiator != "us" || ours.Failures[0].RefusedBy != "peer" || ours.Failures[0].Reason != x.reason || ours.Failures[0].Ours == "" {
					t.Errorf("west: %s", text)
				}
				theirs, text := p.east.whyNot("net")
				if len(theirs.Failures) != 1 {
					t.Fatalf("east: %s\n%s", text, p.east.log)
				}
				e := theirs.Failures[0]
				if e.Initiator != "peer" || e.RefusedBy != "us" || e.Reason != x.reason || len(e.Differences) == 0 || e.Differences[0].What != x.what || len(e.Mends) < 2 {
					t.Fatalf("east: %s", text)
				}
				m := e.Mends[0]
				if !m.Here || m.Key != x.key || m.Value == "" || m.File != "ipsec.conf" || m.Line < 4 {
					t.Fatalf("east's mend is %+v", m)
				}
				p.east.write(setup + tunnel("net", "auto=add", x.east, m.Key+"="+m.Value))
				if err := p.east.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second) // what the old connection had is gone
				p.west.must(whack.OpUp, "net")
				if after, text := p.west.whyNot("net"); len(after.Failures) != 0 || !after.Up {
					t.Errorf("after success: %s", text)
				}
			})
		})
	}
}

// What there is to say without a second side: silence, a wrong secret; and a
// name that nothing has.
func TestWhyAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start(setup + tunnel("silent", "right=203.0.113.9", "auto=add", "keyingtries=1") + tunnel("secret", "auto=add", "keyingtries=1") + tunnel("calm", "rightsubnet=10.9.0.0/16", "auto=add"))
		p.east.secrets = "@west @east : PSK \"another secret altogether, long enough to be one\"\n"
		p.east.start(setup + tunnel("secret", "auto=add"))
		for name, want := range map[string][]string{
			"silent": {"silent", "we called", "UDP ports 500 and 4500", "203.0.113.9"},
			"secret": {"authentication", "AUTHENTICATION_FAILED", "ipsec.secrets: the line for @west @east"},
		} {
			p.west.do(whack.OpUp, name)
			if _, text := p.west.whyNot(name); !containsAll(text, want) {
				t.Errorf("%s: %s", name, text)
			}
		}
		if _, text := p.east.whyNot("secret"); !containsAll(text, []string{"the peer called", "authentication of '@west' failed", "octet for octet"}) {
			t.Errorf("east: %s", text)
		}
		if _, text := p.west.whyNot("calm"); !strings.Contains(text, "nothing has failed") {
			t.Errorf("calm: %s", text)
		}
		if final := p.west.Do(t.Context(), whack.Request{Op: whack.OpWhy, Args: whack.Args{Name: "moon"}}, nil); final.Exit != whack.ExitNoConn {
			t.Errorf("moon: %+v", final)
		}
		if strings.Contains(p.west.log.String()+p.east.log.String(), "another secret") {
			t.Error("a secret is in a log")
		}
	})
}

func containsAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}
