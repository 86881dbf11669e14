package pluto

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
	"cygnet/internal/whack"
)

// broken is a self test that these algorithms fail, of all types.
func broken(names ...string) func() []suite.Broken {
	var list []suite.Broken
	add := func(t suite.TransformType, id uint16, name string) {
		if slices.Contains(names, name) {
			list = append(list, suite.Broken{Type: t, ID: id, Name: name, Err: errors.New("the answer is wrong")})
		}
	}
	for _, e := range suite.Encrs() {
		add(suite.TypeEncr, e.ID, e.Name)
	}
	for _, i := range suite.Integs() {
		add(suite.TypeInteg, i.ID, i.Name)
	}
	for _, k := range suite.KEs() {
		add(suite.TypeKE, k.ID, k.Name)
	}
	return func() []suite.Broken { return list }
}

// An algorithm that fails its self test is withdrawn: the log says so, nothing is
// negotiated with it, and a connection that asks for nothing else is not loaded.
func TestAdv_CRY_01_Withdrawn(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.selfTest = broken("aes_gcm_16", "x25519")
		p.west.start(setup + tunnel("net", "auto=add") + tunnel("only", "auto=add", "esp=aes256gcm16"))
		p.east.start(setup + tunnel("net", "auto=add"))
		log := p.west.log.String()
		for _, want := range []string{
			"self test of aes_gcm_16: the answer is wrong: it is not used", "self test of x25519",
			`"only": all that esp= proposes has failed the self test`,
		} {
			if !strings.Contains(log, want) {
				t.Errorf("the log does not say %q:\n%s", want, log)
			}
		}
		p.west.must(whack.OpUp, "net")
		for _, sa := range p.west.plane.made {
			if sa.Transform.Encr == 20 {
				t.Errorf("%s is of AES-GCM", sa.ID)
			}
		}
		if log := p.west.log.String(); strings.Contains(log, "X25519") || !strings.Contains(log, "MODP_") && !strings.Contains(log, "ECP_") {
			t.Errorf("the key exchange:\n%s", log)
		}
		if _, final := p.west.do(whack.OpUp, "only"); final.Exit != whack.ExitNoConn {
			t.Errorf("the connection without algorithms: %+v", final)
		}
		sa := ipsec.SA{Transform: ipsec.Transform{Encr: 20, KeyBits: 128}}
		if p.west.failedTest(sa) == nil {
			t.Error("an SA by hand may use it")
		}
	})
}

// Without any cipher the daemon does not start.
func TestAdv_CRY_01_NothingLeft(t *testing.T) {
	var names []string
	for _, e := range suite.Encrs() {
		names = append(names, e.Name)
	}
	if _, err := selfTest(Options{Log: slog.New(slog.DiscardHandler), SelfTest: broken(names...)}); !errors.Is(err, errAllBroken) {
		t.Errorf("error %v", err)
	}
}
