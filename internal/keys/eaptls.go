package keys

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"runtime"
	"time"

	"cygnet/internal/eap"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// The handshake of EAP-TLS is that of crypto/tls, which wants a connection to
// read from. It runs as a coroutine: reading what has not come yet hands back
// what has been written, until the next flight arrives. Between flights it
// sleeps, and when nothing refers to the conversation any more it ends.

// tlsHandshake implements eap.Handshake.
type tlsHandshake struct {
	*tlsCore
	next func() (struct{}, bool)
}

// tlsCore is what the coroutine works on. It must not refer to its
// tlsHandshake, whose end is the coroutine's own.
type tlsCore struct {
	in, out bytes.Buffer
	yield   func(struct{}) bool
	server  bool
	config  *tls.Config
	// judge decides whose certificate the other end has shown it holds.
	judge func(tls.ConnectionState) (ike.Certified, error)
	name  func() string // of the peer, at the server

	ended bool
	err   error
	msk   ipsec.Secret
	cert  ike.Certified // of the other end
}

var _ eap.Handshake = (*tlsHandshake)(nil)

func newHandshake(core *tlsCore) *tlsHandshake {
	next, stop := iter.Pull(core.run)
	h := &tlsHandshake{core, next}
	runtime.AddCleanup(h, func(stop func()) { stop() }, stop)
	return h
}

// Next implements eap.Handshake.
func (h *tlsHandshake) Next(flight []byte) ([]byte, bool, error) {
	if h.ended {
		return nil, false, errors.New("the TLS handshake is over")
	}
	h.in.Write(flight)
	h.next()
	ours := bytes.Clone(h.out.Bytes())
	h.out.Reset()
	return ours, h.ended && h.err == nil, h.err
}

// Result implements eap.Handshake.
func (h *tlsHandshake) Result() (eap.Proven, error) {
	if !h.ended || h.err != nil {
		return eap.Proven{}, errors.New("the TLS handshake has not ended well")
	}
	return eap.Proven{MSK: h.msk, Name: h.name(), Chain: h.cert.Chain, Warnings: h.cert.Warnings}, nil
}

func (c *tlsCore) run(yield func(struct{}) bool) {
	c.yield = yield
	c.err = c.handshake()
	c.ended = true
}

func (c *tlsCore) handshake() error {
	conn := tls.Client(c, c.config)
	if c.server {
		conn = tls.Server(c, c.config)
	}
	if err := conn.Handshake(); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	var err error
	if c.cert, err = c.judge(conn.ConnectionState()); err != nil {
		c.out.Reset() // a Finished that would tell the peer that all is well
		return err
	}
	if err := c.commit(conn); err != nil {
		return err
	}
	return c.export(conn.ConnectionState())
}

// commit is the server's last word in TLS 1.3, RFC 9190 section 2.5: one octet
// of zero, after which the client knows that the server is content.
func (c *tlsCore) commit(conn *tls.Conn) error {
	if conn.ConnectionState().Version < tls.VersionTLS13 {
		return nil
	}
	var b [1]byte
	if c.server {
		if _, err := conn.Write(b[:]); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
		return nil
	}
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return fmt.Errorf("TLS: the server's commitment: %w", err)
	}
	if b[0] != 0 {
		return errors.New("TLS: application data in the place of the server's commitment")
	}
	return nil
}

const mskLen = 64

// export derives the MSK: the first half of what RFC 5216 section 2.3 and RFC
// 9190 section 2.3 have exported.
func (c *tlsCore) export(state tls.ConnectionState) error {
	label, context := "client EAP encryption", []byte(nil)
	if state.Version >= tls.VersionTLS13 {
		const eapTypeTLS = 13
		label, context = "EXPORTER_EAP_TLS_Key_Material", []byte{eapTypeTLS}
	}
	key, err := state.ExportKeyingMaterial(label, context, 2*mskLen)
	if err != nil {
		return fmt.Errorf("TLS: the key for EAP: %w", err)
	}
	defer clear(key)
	c.msk = ipsec.NewSecret(bytes.Clone(key[:mskLen]))
	return nil
}

// errGivenUp ends a coroutine whose conversation nobody goes on with.
var errGivenUp = errors.New("given up")

// Read implements net.Conn.
func (c *tlsCore) Read(b []byte) (int, error) {
	for c.in.Len() == 0 {
		if !c.yield(struct{}{}) {
			return 0, errGivenUp
		}
	}
	return c.in.Read(b)
}

// Write implements net.Conn.
func (c *tlsCore) Write(b []byte) (int, error) { return c.out.Write(b) }

// Close and the others complete net.Conn. There is nothing to close, nobody to
// name and nothing that waits.
func (c *tlsCore) Close() error                     { return nil }
func (c *tlsCore) LocalAddr() net.Addr              { return nil }
func (c *tlsCore) RemoteAddr() net.Addr             { return nil }
func (c *tlsCore) SetDeadline(time.Time) error      { return nil }
func (c *tlsCore) SetReadDeadline(time.Time) error  { return nil }
func (c *tlsCore) SetWriteDeadline(time.Time) error { return nil }

// tlsServer is the handshake with a peer that says it is user.
func (r *Ring) tlsServer(c *ike.Conn, user *claim, now time.Time) (eap.Handshake, error) {
	config, err := r.tlsConfig(c, now)
	if err != nil {
		return nil, err
	}
	config.ClientAuth = tls.RequireAnyClientCert
	core := &tlsCore{server: true, config: config, name: func() string { return user.name }}
	core.judge = func(s tls.ConnectionState) (ike.Certified, error) { return r.tlsJudge(c, user.id, s, now) }
	return newHandshake(core), nil
}

// tlsPeer is the handshake with a server that is remote.
func (r *Ring) tlsPeer(c *ike.Conn, remote ike.ID, now time.Time) (eap.Handshake, error) {
	config, err := r.tlsConfig(c, now)
	if err != nil {
		return nil, err
	}
	core := &tlsCore{config: config, name: func() string { return "" }}
	core.judge = func(s tls.ConnectionState) (ike.Certified, error) { return r.tlsJudge(c, remote, s, now) }
	return newHandshake(core), nil
}

// tlsConfig has our certificate. What the other end shows is judged when the
// handshake has ended, by the same rules as in IKE, for only then it is known
// to hold the key.
func (r *Ring) tlsConfig(c *ike.Conn, now time.Time) (*tls.Config, error) {
	file := c.Local.Certs.File
	if file == "" {
		return nil, fmt.Errorf("connection %s has no certificate of ours for EAP-TLS", c.Title())
	}
	key, err := r.certified(file)
	if err != nil {
		return nil, err
	}
	own := &tls.Certificate{PrivateKey: key}
	for _, cert := range r.certificates().Store.Certificates(file, ike.CertSendAlways, nil) {
		if cert.Encoding == ike.CertX509 {
			own.Certificate = append(own.Certificate, cert.Data)
		}
	}
	if len(own.Certificate) == 0 {
		return nil, fmt.Errorf("there is no certificate %q for EAP-TLS", file)
	}
	return &tls.Config{
		Time: func() time.Time { return now }, MinVersion: tls.VersionTLS12,
		Certificates: []tls.Certificate{*own}, SessionTicketsDisabled: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil },
		InsecureSkipVerify:   true, // tlsJudge verifies
	}, nil
}

// tlsJudge decides whether the certificates of the other end, whose key it has
// shown to hold, make it that remote.
func (r *Ring) tlsJudge(c *ike.Conn, remote ike.ID, s tls.ConnectionState, now time.Time) (ike.Certified, error) {
	if len(s.PeerCertificates) == 0 {
		return ike.Certified{}, errors.New("TLS: the other end has no certificate")
	}
	var certs []ike.Cert
	for _, cert := range s.PeerCertificates {
		certs = append(certs, ike.Cert{Encoding: ike.CertX509, Data: cert.Raw})
	}
	own := s.PeerCertificates[0].PublicKey
	proven, err := r.Certified(c, remote, certs, now, func(key crypto.PublicKey) error {
		k, ok := own.(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !k.Equal(key) {
			return errors.New("the key in TLS is another")
		}
		return nil
	})
	if err != nil {
		return ike.Certified{}, fmt.Errorf("TLS: the certificate of %s: %w", show(remote), err)
	}
	return proven, nil
}
