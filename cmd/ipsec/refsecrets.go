package main

// secretsPage is ipsec.secrets(5), freeswan.md part 3.
func secretsPage() page {
	return page{name: "ipsec.secrets", section: 5, about: "secrets and private keys for IKE", parts: []part{
		{heading: "Form", text: []string{
			"An entry begins in column 1 with the identities it is for, then a colon with white space after it, then the kind of secret and the secret. Its further lines are indented. What follows a # is a comment. `include FILE', in column 1, takes in other files, with wildcards if need be.",
			"The file belongs to root with mode 0600, and so does every file that it includes. One that others can read is not used; secretsperm=warn in config setup only warns.",
			"After a change say `ipsec auto --rereadsecrets'. An entry in error is left out and reported with file and line, and the others count.",
		}, example: []string{
			`101.101.101.101 202.202.202.202 : PSK "0x5f3c9a11_8e0124d7_..."`,
			`@west.example.org %any : PSK 0sQ2hhbmdl...`,
			`: RSA {`, `        ...`, `        }`,
			`: RSA west.pem "passphrase"`,
			`carol : EAP "password"`,
			`@west @east : PPKS "2026" 0s...`,
		}},
		{heading: "Identities", text: []string{
			"An address, a name as @gw.example.org (which is never looked up), user@example.org, a distinguished name, or @#HEX. %any and 0.0.0.0 fit any peer. An entry that names us and the peer goes before one that names only us, and that before one without identities. Of several that fit equally well the first counts, and the log says so.",
		}},
		{heading: "Kinds", items: []item{
			{`PSK "…"`, "A shared secret, the same line on both gateways. Others call it a pre-shared key, or a passphrase, which means the same. It proves who one is and never encrypts anything. Between quotes it is what stands there, octet for octet, without newline and quote; 0x, 0s and 0t are as in ipsec.conf(5). `ipsec ranbits 256' makes one. The kind may be left out."},
			{"RSA {...}", "A private key, as `ipsec newhostkey' writes it. It never goes to a peer."},
			{`RSA FILE "…"`, "A private key in a file of ipsec.d/private, with its passphrase, of whatever kind in spite of the word; ECDSA and PKCS8 are taken for it too. Without a passphrase no entry is needed."},
			{`EAP "…"`, "The password of the users named before the colon."},
			{`PPKS "NAME" SECRET`, "A preshared key against quantum computers (RFC 8784), for ppk= in a connection, with the name by which both ends know it; 32 octets or more."},
		}},
		{heading: "See also", text: []string{"ipsec.conf(5), ipsec-newhostkey(8), ipsec-showhostkey(8), ipsec-ranbits(8)."}},
	}}
}
