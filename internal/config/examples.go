package config

import (
	"crypto/rsa"
	"slices"

	"cygnet/internal/rawkey"
)

// exampleSecrets are keys that stand in manuals and sample files for everybody
// to read (R7.7, R10.9, FW006). Whoever copies one has no secret at all.
var exampleSecrets = []string{
	// FreeS/WAN's ipsec.secrets manual and "Other configuration possibilities".
	"0tjxTR1lnmSjuj33n4W51uW3kTR55luUmSmnlRUuWnkjRj3UuTV4T3USSu23Uk55nWu5TkTUnjT",
	// The keys of conn samplesep there.
	"0x01234567_89abcdef_02468ace_13579bdf_12345678_9abcdef0",
	"0x12345678_9abcdef0_2468ace0_13579bdf",
	// The README's, and the form that an error message shows.
	"0t0x5f3c9a11_8e0124d7_...",
	"0tthe secret",
	// strongSwan's test configurations, copied into many guides.
	"0sv+NkxY9LLZvwj4qCC2o/gGrWDF2d21jL",
	"0sFpZAZqEN6Ti9sqt4ZP5EWcqx",
}

// isExample reports whether a secret is a published one.
func isExample(secret []byte) bool {
	return len(secret) > 0 && slices.ContainsFunc(exampleSecrets, func(text string) bool {
		b, err := rawkey.Data(text)
		return err == nil && string(b) == string(secret)
	})
}

// rsaBits is the length of an RSA key; 0 for other keys.
func rsaBits(k Key) int {
	if pub, ok := k.Public.(*rsa.PublicKey); ok {
		return pub.N.BitLen()
	}
	return 0
}
