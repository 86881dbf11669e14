package sim

import (
	"strings"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/keys"
	"cygnet/internal/pki"
	"cygnet/internal/pki/pkitest"
)

// papers is a KeyStore that knows the certificates of a ring and the shared
// secrets of a simulated node.
type papers struct {
	*keys.Ring
	secrets *Keys
}

func (p papers) PSK(c *ike.Conn, local, remote ike.ID) (ipsec.Secret, error) {
	return p.secrets.PSK(c, local, remote)
}

// certified is a world with two tunnels between west and east: "plain" by a
// shared secret, "papers" by certificates, which are good for a year from a
// month before Start. The CRL of their authority is good for a week from Start.
func certified(t *testing.T, strict pki.Strict, edit ...func(*Node, *connection.Description)) (w *World, plain, byCert *Tunnel) {
	t.Helper()
	from, until := Start.AddDate(0, -1, 0), Start.AddDate(0, 11, 0)
	root := pkitest.Root(t, pkitest.Spec{Subject: "CN=Root", From: from, Until: until})
	crl := root.CRL(t, pkitest.ListSpec{From: Start, Until: Start.AddDate(0, 0, 7)})
	w = New(1)
	west, east := w.Add("west", "192.0.2.1", IKEv2), w.Add("east", "198.51.100.2", IKEv2)
	for _, n := range []*Node{west, east} {
		leaf := root.Leaf(t, pkitest.Spec{Subject: "CN=" + n.Name, DNS: []string{n.Name}, From: from, Until: until})
		files := map[string]string{"/d/cacerts/root.pem": pkitest.PEM(root), "/d/certs/own.pem": pkitest.PEM(leaf), "/d/private/own.pem": leaf.KeyPEM(t), "/d/crls/root.crl": string(crl)}
		store, problems := pki.Load(config.MapFS{Files: files}, "/d", Start, pki.Options{})
		for _, p := range problems {
			t.Fatal(p)
		}
		ring := keys.New(keys.Options{})
		ring.SetCertificates(keys.Certificates{Store: store, Strict: strict})
		n.Ring = papers{ring, n.Keys}
	}
	w.Net.IKE, w.Net.Data = Faults{Delay: 10 * time.Millisecond}, Faults{Delay: 10 * time.Millisecond}
	plain = w.Tunnel("plain", west, east, "10.1.0.0/16", "10.2.0.0/16", edit...)
	byCert = w.Tunnel("papers", west, east, "10.3.0.0/16", "10.4.0.0/16", append(edit, func(_ *Node, d *connection.Description) {
		d.Local.Auth, d.Remote.Auth = []ike.AuthMethod{ike.AuthPubkey}, []ike.AuthMethod{ike.AuthPubkey}
		d.Local.Certs, d.Remote.Certs = ike.Certs{File: "own.pem", Send: ike.CertSendAlways}, ike.Certs{Accept: true}
	})...)
	return w, plain, byCert
}

// refused counts the handshakes that failed because of a certificate's time or
// revocation, in the words of the end that judged.
func refused(n *Node, words string) (count int) {
	for _, r := range n.Facts {
		if f, ok := r.Fact.(ike.Failed); ok && strings.Contains(f.Why.Why, words) {
			count++
		}
	}
	return count
}

// Machines boot in 1970: shared secrets work, certificates are refused with the
// reason, and count once the clock is set, with nobody doing anything.
func TestAdv_CLK_02_BootIn1970(t *testing.T) {
	w, plain, byCert := certified(t, pki.StrictNo)
	for _, n := range []*Node{plain.A, plain.B} {
		n.SetWall(time.Unix(0, 0))
	}
	plain.A.Up(plain.Name)
	byCert.A.Up(byCert.Name)
	w.Run(2 * time.Minute)
	if !plain.Secured() || byCert.Secured() {
		t.Fatalf("secret: %v, certificates: %v\n%s", plain.Secured(), byCert.Secured(), w.Trace)
	}
	if n := refused(byCert.A, "not valid before") + refused(byCert.B, "not valid before"); n == 0 || n > 20 {
		t.Errorf("the reason was said %d times\n%s", n, w.Trace)
	}
	for _, n := range []*Node{plain.A, plain.B} {
		n.SetWall(w.Now())
	}
	if !w.RunUntil(10*time.Minute, byCert.Secured) {
		t.Errorf("not tried again\n%s", w.Trace)
	}
	fine(t, w, 1)
}

// The time of day swings by an hour each second, for an hour, or takes a leap
// second: the history is that of a world where it does not.
func TestAdv_CLK_03_05_NothingGoesByTheTimeOfDay(t *testing.T) {
	history := func(set func(i int, n *Node)) string {
		w, plain, byCert := certified(t, pki.StrictNo, quick)
		plain.A.Up(plain.Name)
		byCert.B.Up(byCert.Name)
		for i := range 3600 {
			set(i, plain.A)
			w.Run(time.Second)
		}
		fine(t, w, 1)
		if !plain.Secured() || !byCert.Secured() || w.Stats.ChildRekeys == 0 {
			t.Errorf("not up, or nothing rekeyed: %+v", w.Stats)
		}
		var kept []string
		for _, line := range strings.Split(w.Trace.String(), "\n") {
			if !strings.Contains(line, "$ date") {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "\n")
	}
	want := history(func(int, *Node) {})
	for name, set := range map[string]func(int, *Node){
		"an hour":       func(i int, n *Node) { n.StepWall(time.Duration(1-2*(i%2)) * time.Hour) },
		"a leap second": func(i int, n *Node) { n.StepWall(map[int]time.Duration{1800: -time.Second}[i]) },
	} {
		if history(set) != want {
			t.Errorf("%s changes what happens", name)
		}
	}
}

// The time of day jumps out of the validity of a CRL and of a certificate, and
// back: what is up stays, and each new proof is judged by the time that it is.
func TestAdv_CLK_07_JumpsAcrossValidity(t *testing.T) {
	w, _, byCert := certified(t, pki.StrictYes)
	renew := func() bool {
		byCert.A.TakeDown(byCert.Name)
		w.Run(5 * time.Second)
		byCert.A.Up(byCert.Name)
		return w.RunUntil(20*time.Second, byCert.Secured)
	}
	day := 24 * time.Hour
	for _, c := range []struct {
		what string
		at   time.Duration // from Start
		up   bool
	}{
		{"in time", 0, true},
		{"after the list", 8 * day, false},
		{"in time again", day, true},
		{"after the certificate", 400 * day, false},
		{"before the certificate", -60 * day, false},
		{"in time at last", 2 * day, true},
	} {
		was := byCert.Secured()
		for _, n := range []*Node{byCert.A, byCert.B} {
			n.SetWall(Start.Add(c.at))
		}
		w.Run(10 * time.Second)
		if byCert.Secured() != was {
			t.Errorf("%s: the jump itself does something", c.what)
		}
		if renew() != c.up {
			t.Errorf("%s: up %v\n%s", c.what, !c.up, w.Trace)
		}
	}
	fine(t, w, 1)
}

// Tickets of session resumption, and so the secrets that seal them, go by the
// clock of machines: after 20 years ahead and 40 back each still takes its
// session up again, without a key exchange.
func TestAdv_CLK_09_SecretsOverJumps(t *testing.T) {
	w, tunnel := pairOf(1, func(n *Node, d *connection.Description) {
		d.Resume, d.RetransmitTotal, d.DPDDelay, d.DPDAction = true, 10*time.Second, 10*time.Second, ike.DPDRestart
		if n.Name == "east" {
			d.DPDAction = ike.DPDClear
		}
	})
	west, east := tunnel.A, tunnel.B
	west.Up(tunnel.Name)
	w.Run(time.Second)
	for i, jump := range []time.Duration{20 * 365 * 24 * time.Hour, -40 * 365 * 24 * time.Hour} {
		west.StepWall(jump)
		east.StepWall(jump)
		w.Net.Cut(west.Addr, east.Addr)
		w.Net.Cut(east.Addr, west.Addr)
		w.Run(18 * time.Second)
		w.Net.Mend(west.Addr, east.Addr)
		w.Net.Mend(east.Addr, west.Addr)
		w.Run(40 * time.Second)
		answers, inits := strings.Count(w.Trace.String(), "IKE_SESSION_RESUME response"), strings.Count(w.Trace.String(), "IKE_SA_INIT response")
		if !tunnel.Secured() || answers != i+1 || inits != 1 {
			t.Errorf("jump %s: %d times resumed, %d from the beginning\n%s", jump, answers, inits, w.Trace)
		}
	}
	fine(t, w, 1)
}
