package keys

import (
	"errors"
	"testing"

	"cygnet/internal/config"
)

// However somebody spells the domain, he is the one that ipsec.secrets names:
// whoever could be several would have several addresses of a pool.
func TestPasswordHasOneName(t *testing.T) {
	s := config.ParseSecrets(config.MapFS{Files: map[string]string{"/s": "carol : EAP \"one\"\n"}}, "/s", config.SecretsOptions{})
	for _, p := range s.Errors {
		t.Fatal(p)
	}
	r := New(Options{})
	r.Set(s)
	for said, want := range map[string]string{"carol": "carol", `CORP\carol`: "carol", `x\carol`: "carol"} {
		if known, password, err := r.password(said); err != nil || known != want || password.Len() == 0 {
			t.Errorf("%s is known as %q, %v", said, known, err)
		}
	}
	for _, said := range []string{"dave", "", `\`, `carol\`, "Carol"} {
		if known, _, err := r.password(said); !errors.Is(err, ErrNoPassword) {
			t.Errorf("%q is known as %q, %v", said, known, err)
		}
	}
}
