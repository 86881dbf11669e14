package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/pool"
	"cygnet/internal/rawkey"
)

// endKeys are the parameters that exist once with left and once with right.
// The one without a name is left= and right= themselves.
var endKeys = []keyword[End]{
	{name: "", kind: "address, %any, %defaultroute, %group, …", doc: "Address of that end.", field: hostField(func(e *End) *Host { return &e.Host }, hostWords)},
	{name: "subnet", kind: "subnets joined by commas", doc: "What that end protects; nothing: itself.", field: subnets(func(e *End) *[]netip.Prefix { return &e.Subnets })},
	{name: "subnets", kind: "{subnet subnet …}", doc: "One connection for each of them.", field: subnetSets},
	{name: "nexthop", kind: "address, %direct or %defaultroute", doc: "First hop toward the other end.", field: hostField(func(e *End) *Host { return &e.NextHop }, hopWords)},
	{name: "id", kind: "identity", doc: "Name in IKE; nothing: the address.", field: identity(func(e *End) *Identity { return &e.ID })},
	{name: "rsasigkey", aliases: []string{"sigkey"}, kind: "key data, %cert, %dnsondemand, %dnsonload or %none", def: "%dnsondemand", doc: "Public key.", field: keyField(0)},
	{name: "rsasigkey2", aliases: []string{"sigkey2"}, kind: "key data", doc: "Another public key, while keys change.", field: keyField(1)},
	{name: "pubkey", aliases: []string{"ecdsakey", "eddsakey"}, kind: "key data", doc: "Public key of any kind.", field: keyField(2)},
	{name: "pubkey2", kind: "key data", doc: "Another public key of any kind.", field: keyField(3)},
	{name: "auth", kind: "pubkey, secret, null, eap-tls or eap-mschapv2", doc: "How that end proves who it is, if not as authby= says.", field: authField(func(e *End) *[]ike.AuthMethod { return &e.Auth })},
	{name: "protoport", kind: "protocol/port", doc: "Only this protocol and port.", field: protoPort},
	{name: "sourceip", kind: "%config, %config4, %config6, %dhcp, addresses, or ranges", doc: "Source address of our own packets into the tunnel; without a subnet, address to ask the peer for; of the peer: as addresspool.", field: sourceIP},
	{name: "addresspool", kind: "ranges or subnets joined by commas", doc: "Addresses that the peer at that end is given.", field: ranges(func(e *End) *[]pool.Range { return &e.pools })},
	{name: "subnetwithin", kind: "subnet", doc: "The peer at that end may have any subnet inside this one, such as an address that it has from DHCP.", field: subnets(func(e *End) *[]netip.Prefix { return &e.Within })},
	{name: "modecfgclient", kind: "yes or no", def: "no", doc: "That end asks for an address, as sourceip=%config.", field: yesNo(func(e *End) *bool { return &e.ModeClient })},
	{name: "modecfgserver", kind: "yes or no", def: "no", doc: "That end gives addresses; the other end's addresspool says which.", field: yesNo(func(e *End) *bool { return &e.ModeServer })},
	{name: "ikeport", kind: "port", doc: "UDP port of that end's IKE.", field: port(func(e *End) *uint16 { return &e.IKEPort })},
	{name: "updown", kind: "command", doc: "Run instead of our own routing.", field: updownField},

	{name: "firewall", kind: "yes or no", def: "no", doc: "Open the forwarding firewall while the connection is up.", field: yesNo(func(e *End) *bool { return &e.Firewall })},
	{name: "proxyarp", kind: "yes or no", def: "no", doc: "Answer ARP for the peer's addresses.", field: yesNo(func(e *End) *bool { return &e.ProxyARP })},
	{name: "espenckey", kind: "key data", doc: "Manual: encryption key toward that end.", field: secret(func(e *End) *ipsec.Secret { return &e.Manual.ESPEnc })},
	{name: "espauthkey", kind: "key data", doc: "Manual: ESP integrity key toward that end.", field: secret(func(e *End) *ipsec.Secret { return &e.Manual.ESPAuth })},
	{name: "ahkey", kind: "key data", doc: "Manual: AH key toward that end.", field: secret(func(e *End) *ipsec.Secret { return &e.Manual.AHSecret })},
	{name: "espspi", kind: "0x and digits", doc: "Manual: SPI of ESP toward that end.", field: spi(func(e *End) *ipsec.SPI { return &e.Manual.ESPSPI })},
	{name: "ahspi", kind: "0x and digits", doc: "Manual: SPI of AH toward that end.", field: spi(func(e *End) *ipsec.SPI { return &e.Manual.AHSPI })},

	{name: "cert", kind: "file", doc: "Certificate: a file of ipsec.d/certs, or a path.", field: text(func(e *End) *string { return &e.Cert.File })},
	{name: "ca", kind: "distinguished name, %same or %any", doc: "Who must have issued the certificate.", field: authority},
	{name: "sendcert", kind: "always, ifasked or never", def: "always", doc: "When the certificate is sent.",
		field: enum(func(e *End) *ike.CertSend { return &e.Cert.Send }, word[ike.CertSend]{"always", ike.CertSendAlways, ""}, word[ike.CertSend]{"yes", ike.CertSendAlways, ""},
			word[ike.CertSend]{"ifasked", ike.CertSendIfAsked, ""}, word[ike.CertSend]{"sendifasked", ike.CertSendIfAsked, ""},
			word[ike.CertSend]{"never", ike.CertSendNever, ""}, word[ike.CertSend]{"no", ike.CertSendNever, ""})},
	endOption("cert2", "file", "", "Another certificate.", refused, "an end has one certificate"),
	endOption("ca2", "name", "", "Who must have issued the other certificate.", refused, "an end has one certificate"),
	endOption("ckaid", "digits", "", "Key in the NSS database.", refused, "there is no NSS database"),
	endOption("certpolicy", "OIDs", "", "Policies that the certificate must have.", refused, "policies are not looked at; leftca= limits who may issue"),
	endOption("hashandurl", "yes or no", "no", "Fetch the certificate.", refused, "certificates are sent, and never fetched from where a peer says"),
	endOption("groups", "list", "", "Groups of attribute certificates.", refused, "attribute certificates are not read", "groups2"),
	endOption("id2", "identity", "", "Identity of a second authentication.", refused, "there is one authentication"),
	endOption("auth2", "method", "", "A second authentication.", refused, "there is one authentication"),
	endOption("authby", "method", "", "As leftauth.", refused, "use leftauth"),
	endOption("autheap", "method", "none", "EAP method.", refused, noXAUTH),
	endOption("dns", "addresses", "", "DNS servers to ask for or to tell.", refused, "they are asked for with every address; modecfgdns= tells them"),
	endOption("cat", "yes or no", "no", "Translate our addresses to the one given.", refused, "addresses are not translated"),
	endOption("xauthserver", "yes or no", "no", "Ask for passwords.", refused, noXAUTH),
	endOption("xauthclient", "yes or no", "no", "Send a password.", refused, noXAUTH),
	endOption("username", "name", "", "User's name.", refused, noXAUTH, "xauthusername"),
	endOption("interface-ip", "address", "", "Address of the XFRM device.", refused, noKernel),
	endOption("vti", "address", "", "Address of the VTI device.", refused, noKernel),
	endOption("allowany", "yes or no", "no", "The peer may call from elsewhere too.", refused, "use right=%any"),
	endOption("hostaccess", "yes or no", "no", "Let the peer reach this host.", harmless, "the firewall is left as it is"),
	endOption("dns-match-id", "yes or no", "no", "The identity must match the DNS name.", refused, "it is not looked up"),
	endOption("ikeport2", "port", "", "A second port.", refused, "there is one port"),
}

func endOption(name, kind, def, doc string, u use, why string, aliases ...string) keyword[End] {
	return keyword[End]{name: name, aliases: aliases, kind: kind, def: def, doc: doc, use: u, why: why,
		field: option(func(e *End) *map[string]string { return &e.Options }, name)}
}

var hostWords = []word[HostKind]{
	{"%any", HostAny, ""}, {"%defaultroute", HostDefaultRoute, ""}, {"%opportunistic", HostOpportunistic, ""},
	{"%group", HostGroup, ""}, {"%opportunisticgroup", HostOpportunisticGroup, ""},
}

var hopWords = []word[HostKind]{{"%direct", HostDirect, ""}, {"%defaultroute", HostDefaultRoute, ""}}

// hostField is left= or leftnexthop=. The unspecified address is an old
// spelling of the first word.
func hostField(at func(*End) *Host, words []word[HostKind]) field[End] {
	return field[End]{
		parse: func(e *End, v value) error {
			if v.text == "%any6" && words[0].value == HostAny {
				*at(e) = Host{Kind: HostAny, Addr: netip.IPv6Unspecified()}
				return nil
			}
			if w, ok := lookup(words, v.text); ok {
				*at(e) = Host{Kind: w.value}
				return nil
			}
			if strings.HasPrefix(v.text, "%") {
				return mendable{fmt.Errorf("illegal %s value %q", v.name, v.text), "an address, a host name, or" + strings.TrimPrefix(orWords(words), " or")}
			}
			h, err := parseHost(v.text)
			if h.Kind == HostAddr && h.Addr.IsUnspecified() {
				h.Kind = words[0].value
				if h.Addr.Is4() {
					h.Addr = netip.Addr{}
				}
			}
			*at(e) = h
			return err
		},
		print: func(e *End) string {
			h := *at(e)
			switch h.Kind {
			case HostAddr:
				return h.Addr.String()
			case HostName:
				return h.Name
			case HostAny:
				if h.Addr.Is6() {
					return "%any6"
				}
			}
			for _, w := range words {
				if w.value == h.Kind {
					return w.text
				}
			}
			return ""
		},
	}
}

// parseHost reads an address or a host name to be resolved later.
func parseHost(text string) (Host, error) {
	if a, err := ParseAddress(text); err == nil {
		return Host{Kind: HostAddr, Addr: a}, nil
	}
	_, err := ike.ParseID(text)
	var host *ike.HostNameError
	if errors.As(err, &host) {
		return Host{Kind: HostName, Name: host.Name}, nil
	}
	return Host{}, fmt.Errorf("%q is neither an address nor a host name", text)
}

// subnets is leftsubnet=: one subnet, or several joined by commas that share
// one Child SA.
func subnets(at func(*End) *[]netip.Prefix) field[End] {
	return field[End]{
		parse: func(e *End, v value) error {
			if strings.HasPrefix(v.text, "vhost:") || strings.HasPrefix(v.text, "vnet:") {
				return notYet{"virtual networks of peers are not known"}
			}
			if strings.HasPrefix(v.text, "{") {
				return mendable{errors.New("a list in braces makes several connections"), "use " + v.name + "s="}
			}
			list, err := parseSubnets(strings.Split(v.text, ","))
			*at(e) = list
			return err
		},
		print: func(e *End) string { return joinSubnets(*at(e), ",") },
	}
}

// subnetSets is leftsubnets=, freeswan.md 2.12. It never prints: by then it
// has become connections.
var subnetSets = field[End]{
	parse: func(e *End, v value) error {
		body := strings.TrimSuffix(strings.TrimPrefix(v.text, "{"), "}")
		list, err := parseSubnets(strings.FieldsFunc(body, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }))
		if err == nil && len(list) == 0 {
			err = errors.New("no subnets")
		}
		e.sets = list
		return err
	},
	print: func(e *End) string { return "" },
}

func parseSubnets(words []string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, w := range words {
		p, _, err := ParseSubnet(strings.TrimSpace(w))
		if err != nil {
			return nil, err
		}
		for _, q := range list {
			if p == q {
				return nil, fmt.Errorf("subnet %s is given twice", p)
			}
		}
		list = append(list, p)
	}
	return list, nil
}

func joinSubnets(list []netip.Prefix, sep string) string {
	var texts []string
	for _, p := range list {
		texts = append(texts, p.String())
	}
	return strings.Join(texts, sep)
}

var keyWords = []word[KeyKind]{
	{"%none", KeyNone, ""}, {"%dnsondemand", KeyDNSOnDemand, ""}, {"%dnsonload", KeyDNSOnLoad, ""}, {"%dns", KeyDNSOnLoad, ""}, {"%cert", KeyCert, ""},
}

// keyField is one of the keywords that give a public key; slot keeps them
// apart, so that each prints where it was read.
func keyField(slot int) field[End] {
	return field[End]{
		parse: func(e *End, v value) error {
			key := Key{Text: v.text, Where: v.at, slot: slot}
			if w, ok := lookup(keyWords, v.text); ok && slot == 0 {
				if w.notYet != "" {
					return notYet{w.notYet}
				}
				key.Kind, key.Text = w.value, w.text
			} else if strings.HasPrefix(v.text, "%") {
				return fmt.Errorf("illegal %s value %q", v.name, v.text)
			} else {
				pub, err := rawkey.Parse(v.text)
				if err != nil {
					return err
				}
				key.Public = pub
			}
			e.Keys = append(e.Keys, key)
			return nil
		},
		print: func(e *End) string {
			for _, k := range e.Keys {
				if k.slot == slot {
					return k.Text
				}
			}
			if slot == 0 {
				return "%dnsondemand"
			}
			return ""
		},
	}
}

var protoPort = field[End]{
	parse: func(e *End, v value) (err error) {
		e.Proto, e.Ports, err = ParseProtoPort(v.text)
		return err
	},
	print: func(e *End) string { return formatProtoPort(e.Proto, e.Ports) },
}

// updownField is leftupdown=. The default command, with or without its path,
// is our own routing.
var updownField = field[End]{
	parse: func(e *End, v value) error {
		e.Updown = strings.Fields(v.text)
		switch {
		case len(e.Updown) == 2 && e.Updown[0] == "ipsec" && e.Updown[1] == "_updown", v.text == "%default":
			e.Updown = nil
		case len(e.Updown) > 0 && e.Updown[0] == "%disabled":
			return notYet{"routes are always made"}
		}
		return nil
	},
	print: func(e *End) string { return strings.Join(e.Updown, " ") },
}
