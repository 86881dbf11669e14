package main

import (
	"crypto"
	"fmt"
	"path/filepath"

	"cygnet/internal/config"
	"cygnet/internal/ike"
)

// hostKey is the public half of one entry of ipsec.secrets.
type hostKey struct {
	public  crypto.PublicKey
	comment string // host and date, where the entry has them
	index   []string
}

func readSecrets(file string) *config.Secrets {
	return config.ParseSecrets(config.OS{}, file, config.SecretsOptions{
		PrivateDir: filepath.Join(where().conf, "ipsec.d", "private"),
	})
}

// hostKeys lists the key pairs of a secrets file.
func hostKeys(file string) ([]hostKey, error) {
	secrets := readSecrets(file)
	var found []hostKey
	for _, e := range secrets.Entries {
		if e.Kind != config.SecretPrivate {
			continue
		}
		k := hostKey{public: e.Private.Signer().Public(), comment: e.Comment}
		for _, x := range e.Index {
			k.index = append(k.index, indexText(x))
		}
		found = append(found, k)
	}
	if len(found) == 0 && len(secrets.Errors) > 0 {
		return nil, secrets.Errors[0]
	}
	return found, nil
}

// findHostKey finds the entry without index, or the one that has index id.
func findHostKey(file, id string) (hostKey, error) {
	secrets := readSecrets(file)
	var found []hostKey
	for _, e := range secrets.Entries {
		if e.Kind != config.SecretPrivate {
			continue
		}
		match, err := indexed(e, id)
		if err != nil {
			return hostKey{}, err
		}
		if match {
			found = append(found, hostKey{public: e.Private.Signer().Public(), comment: e.Comment})
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return hostKey{}, fmt.Errorf("multiple default keys found!?! (in %q)", file)
	case len(secrets.Errors) > 0:
		return hostKey{}, secrets.Errors[0]
	case id != "":
		return hostKey{}, fmt.Errorf("no %q key in %q", id, file)
	}
	return hostKey{}, fmt.Errorf("no default key in %q", file)
}

func indexed(e config.Secret, id string) (bool, error) {
	if id == "" {
		return len(e.Index) == 0, nil
	}
	want, err := ike.ParseID(id)
	if err != nil {
		return false, err
	}
	for _, x := range e.Index {
		if x.ID.Equal(want) {
			return true, nil
		}
	}
	return false, nil
}

func indexText(x config.Index) string {
	switch {
	case x.Any:
		return "%any"
	case x.Name != "":
		return x.Name
	}
	return x.ID.String()
}
