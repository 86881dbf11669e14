package pki

import (
	"bytes"
	"crypto/sha1"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/pki/pkitest"
)

func TestCertificates(t *testing.T) {
	l := newLab(t)
	other := pkitest.Root(t, pkitest.Spec{Subject: "CN=Other"})
	alone := pkitest.Self(t, pkitest.Spec{Subject: "CN=alone"})
	orphan := other.Leaf(t, pkitest.Spec{Subject: "CN=orphan"})
	s := load(t, map[string]string{
		"cacerts/root.pem":  pkitest.PEM(l.root),
		"certs/gw.pem":      pkitest.PEM(l.gw, l.sub), // the intermediate in the same file
		"certs/alone.pem":   pkitest.PEM(alone),
		"certs/orphan.pem":  pkitest.PEM(orphan),
		"private/gw.pem":    l.gw.KeyPEM(t),
		"certs/.hidden.pem": "x", "certs/backup.pem~": "x",
	})
	ask := func(cas ...*pkitest.Cert) ike.CertRequest {
		r := ike.CertRequest{Encoding: ike.CertX509}
		for _, c := range cas {
			h := sha1.Sum(c.RawSubjectPublicKeyInfo)
			r.Authorities = append(r.Authorities, h[:]...)
		}
		return r
	}
	names := map[string]string{string(l.gw.Raw): "gw", string(l.sub.Raw): "sub", string(l.root.Raw): "root", string(alone.Raw): "alone", string(orphan.Raw): "orphan"}
	url := ask(l.root)
	url.Encoding = ike.CertHashURL
	ragged := ask(l.root)
	ragged.Authorities = append([]byte{1}, ragged.Authorities...)
	for what, c := range map[string]struct {
		file  string
		send  ike.CertSend
		asked []ike.CertRequest
		want  string
	}{
		"always":                    {"gw.pem", ike.CertSendAlways, nil, "gw sub"},
		"always, asked for others":  {"gw.pem", ike.CertSendAlways, []ike.CertRequest{ask(other)}, "gw sub"},
		"never":                     {"gw.pem", ike.CertSendNever, []ike.CertRequest{ask(l.root)}, ""},
		"if asked, and not":         {"gw.pem", ike.CertSendIfAsked, nil, ""},
		"if asked, for the root":    {"gw.pem", ike.CertSendIfAsked, []ike.CertRequest{ask(other, l.root)}, "gw sub"},
		"if asked, for the sub":     {"gw.pem", ike.CertSendIfAsked, []ike.CertRequest{ask(other), ask(l.sub)}, "gw sub"},
		"if asked, for others":      {"gw.pem", ike.CertSendIfAsked, []ike.CertRequest{ask(other)}, ""},
		"if asked, for any":         {"gw.pem", ike.CertSendIfAsked, []ike.CertRequest{ask()}, "gw sub"},
		"if asked, by URL":          {"gw.pem", ike.CertSendIfAsked, []ike.CertRequest{url}, ""},
		"if asked, off the row":     {"gw.pem", ike.CertSendIfAsked, []ike.CertRequest{ragged}, ""},
		"self-signed":               {"alone.pem", ike.CertSendAlways, nil, "alone"},
		"CA not known, if asked":    {"orphan.pem", ike.CertSendIfAsked, []ike.CertRequest{ask(other)}, "orphan"},
		"no such file":              {"none.pem", ike.CertSendAlways, nil, ""},
		"no certificate configured": {"", ike.CertSendAlways, nil, ""},
	} {
		var got []string
		for _, cert := range s.Certificates(c.file, c.send, c.asked) {
			if cert.Encoding != ike.CertX509 {
				t.Errorf("%s: encoding %d", what, cert.Encoding)
			}
			got = append(got, names[string(cert.Data)])
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: sends %q, not %q", what, got, c.want)
		}
	}
	// What we send is what a peer that trusts the root takes.
	_, err := l.store.Verify(now, s.Certificates("gw.pem", ike.CertSendAlways, nil), id(t, "@gw.example.org"), Policy{})
	want(t, "our own", err, 0)
	if key, ok := s.PrivateKey(s.Certificate("gw.pem").PublicKey); !ok || key == nil {
		t.Error("the private key is not found")
	}
	if _, ok := s.PrivateKey(alone.PublicKey); ok {
		t.Error("there is a private key of somebody else")
	}
}

func TestAuthorities(t *testing.T) {
	l := newLab(t)
	s := trusting(t, l.root, l.sub)
	root, sub := sha1.Sum(l.root.RawSubjectPublicKeyInfo), sha1.Sum(l.sub.RawSubjectPublicKeyInfo)
	if h, ok := s.Authorities(ike.ID{}); !ok || !bytes.Equal(h, append(root[:], sub[:]...)) {
		t.Errorf("all: %x, %v", h, ok)
	}
	if h, ok := s.Authorities(id(t, "C=CH, O=Lab, CN=Sub")); !ok || !bytes.Equal(h, sub[:]) {
		t.Errorf("one: %x, %v", h, ok)
	}
	if h, ok := s.Authorities(id(t, "CN=Nobody")); ok || h != nil {
		t.Errorf("none: %x, %v", h, ok)
	}
	var many []*pkitest.Cert
	for i := range maxAuthorities + 1 {
		many = append(many, pkitest.Root(t, pkitest.Spec{Subject: fmt.Sprintf("CN=%d", i)}))
	}
	if h, ok := trusting(t, many...).Authorities(ike.ID{}); !ok || h != nil {
		t.Errorf("too many: %d octets, %v", len(h), ok)
	}
	if h, ok := trusting(t, many[1:]...).Authorities(ike.ID{}); !ok || len(h) != maxAuthorities*keyHash {
		t.Errorf("as many as fit: %d octets, %v", len(h), ok)
	}
}

func TestIdentity(t *testing.T) {
	root := pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"})
	s := load(t, map[string]string{
		"certs/dn.pem":   pkitest.PEM(root.Leaf(t, pkitest.Spec{Subject: "C=CH, CN=gw", DNS: []string{"gw"}})),
		"certs/dns.pem":  pkitest.PEM(root.Leaf(t, pkitest.Spec{DNS: []string{"gw.example.org"}})),
		"certs/mail.pem": pkitest.PEM(root.Leaf(t, pkitest.Spec{Mail: []string{"a@example.org"}})),
		"certs/none.pem": pkitest.PEM(root.Leaf(t, pkitest.Spec{})),
	})
	for file, text := range map[string]string{"dn.pem": "C=CH, CN=gw", "dns.pem": "@gw.example.org", "mail.pem": "a@example.org", "none.pem": "", "absent.pem": ""} {
		got, ok := s.Identity(file)
		if ok != (text != "") || ok && (got.String() != text || !Names(s.Certificate(file), got)) {
			t.Errorf("%s: %v, %v", file, got, ok)
		}
	}
	if ca, ok := s.Issuer("dn.pem"); !ok || ca.String() != "CN=Root" {
		t.Errorf("issuer %v", ca)
	}
	if _, ok := s.Issuer("absent.pem"); ok {
		t.Error("issuer of nothing")
	}
}

// DER files, files of several certificates, an intermediate in cacerts: what is
// an anchor and what only stands between.
func TestAnchors(t *testing.T) {
	l := newLab(t)
	chain := pkitest.Payloads(l.gw)
	name := id(t, "@gw.example.org")
	revoked := crlPEM(l.root.CRL(t, pkitest.ListSpec{Revoked: []*pkitest.Cert{l.sub}}))
	for what, c := range map[string]struct {
		files map[string]string
		step  Step
	}{
		"root as DER, intermediate sent by nobody":         {map[string]string{"cacerts/r.der": string(l.root.Raw)}, StepChain},
		"root and intermediate":                            {map[string]string{"cacerts/r.der": string(l.root.Raw), "cacerts/s.der": string(l.sub.Raw)}, 0},
		"intermediate alone is an anchor":                  {map[string]string{"cacerts/s.der": string(l.sub.Raw)}, 0},
		"anchor, whoever has revoked it":                   {map[string]string{"cacerts/s.der": string(l.sub.Raw), "crls/r.pem": revoked}, 0},
		"revoked below its root":                           {map[string]string{"cacerts/r.der": string(l.root.Raw), "cacerts/s.der": string(l.sub.Raw), "crls/r.pem": revoked}, StepRevoked},
		"intermediate in certs is trusted for nothing":     {map[string]string{"certs/s.der": string(l.sub.Raw)}, StepChain},
		"intermediate in certs, root in cacerts":           {map[string]string{"cacerts/r.der": string(l.root.Raw), "certs/s.der": string(l.sub.Raw)}, 0},
		"the end entity's own certificate is no authority": {map[string]string{"certs/gw.der": string(l.gw.Raw)}, StepChain},
	} {
		_, err := load(t, c.files).Verify(now, chain, name, Policy{})
		want(t, what, err, c.step)
	}
}

func TestLoadProblems(t *testing.T) {
	l := newLab(t)
	old := pkitest.Root(t, pkitest.Spec{Subject: "CN=Old", Until: now.AddDate(0, 0, -1)})
	plain := pkitest.Root(t, pkitest.Spec{Subject: "CN=Plain", NotBasic: true})
	encrypted := string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{0x30, 0}}))
	for what, c := range map[string]struct {
		file, text string
		info       config.Info
		says       string
	}{
		"end entity as authority": {"cacerts/a.pem", pkitest.PEM(l.gw), config.Info{}, "is no CA's"},
		"no basic constraints":    {"cacerts/a.pem", pkitest.PEM(plain), config.Info{}, "is no CA's"},
		"expired":                 {"cacerts/a.pem", pkitest.PEM(old), config.Info{}, "expired at"},
		"empty":                   {"cacerts/a.pem", "", config.Info{}, "no certificate"},
		"no PEM of that kind":     {"cacerts/a.pem", "-----BEGIN X-----\n-----END X-----\n", config.Info{}, "has no certificate"},
		"two end entities":        {"certs/a.pem", pkitest.PEM(l.gw, l.root.Leaf(t, pkitest.Spec{Subject: "CN=2"})), config.Info{}, "more than one"},
		"others may write":        {"cacerts/a.pem", pkitest.PEM(l.root), config.Info{Mode: 0o666, Trusted: true}, "others may write"},
		"directory is open":       {"certs/a.pem", pkitest.PEM(l.gw), config.Info{Mode: 0o644, Trusted: true, LooseDir: "/etc"}, "directory /etc"},
		"somebody else's":         {"crls/a.pem", "x", config.Info{Mode: 0o644, UID: 1000}, "belongs to user 1000"},
		"key that others read":    {"private/a.pem", l.gw.KeyPEM(t), config.Info{Mode: 0o644, Trusted: true}, "open to group or others"},
		"key with passphrase":     {"private/a.pem", encrypted, config.Info{}, "key file is not used"},
		"no key":                  {"private/a.pem", "hello", config.Info{}, "key file is not used"},
		"too long":                {"certs/a.pem", strings.Repeat("x", maxFile+1), config.Info{}, "longer than"},
	} {
		name := dir + "/" + c.file
		fsys := config.MapFS{Files: map[string]string{name: c.text}, Infos: map[string]config.Info{}}
		if c.info != (config.Info{}) {
			fsys.Infos[name] = c.info
		}
		_, problems := Load(fsys, dir, now, Options{})
		if len(problems) != 1 || problems[0].File != name || !strings.Contains(problems[0].Text, c.says) {
			t.Errorf("%s: %v", what, problems)
		}
		for _, p := range problems {
			if strings.Contains(p.Error(), "PRIVATE") {
				t.Errorf("%s: shows a key", what)
			}
		}
	}
	name := dir + "/private/a.pem"
	fsys := config.MapFS{Files: map[string]string{name: l.gw.KeyPEM(t)}, Infos: map[string]config.Info{name: {Mode: 0o644, Trusted: true}}}
	if s, problems := Load(fsys, dir, now, Options{Warn: true}); len(problems) != 1 || len(s.private) != 1 {
		t.Errorf("secretsperm=warn: %v", problems)
	}
	// leftcert= with a path, and one that is not there.
	fsys = config.MapFS{Files: map[string]string{"/srv/gw.pem": pkitest.PEM(l.gw), dir + "/certs/b.pem": pkitest.PEM(l.gw)}}
	s, problems := Load(fsys, dir, now, Options{Named: []string{"/srv/gw.pem", "b.pem", "none.pem"}})
	if s.Certificate("/srv/gw.pem") == nil || s.Certificate("b.pem") == nil || len(problems) != 1 || !strings.Contains(problems[0].Text, "no such file") || fmt.Sprint(s.Names()) != "[/srv/gw.pem b.pem]" {
		t.Errorf("named: %v, %v", s.Names(), problems)
	}
	var zero Store
	if _, err := zero.Verify(now, pkitest.Payloads(l.gw, l.sub), id(t, "@gw.example.org"), Policy{}); StepOf(err) != StepChain {
		t.Errorf("the zero store: %v", err)
	}
}
