package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"cygnet/internal/config"
)

// What the manual says of commands, requirement by requirement, where no other
// test of this package shows it.

// R8.2: a tool that makes secrets keeps them private, whatever the umask is.
func TestSecretsArePrivateUnderAnyUmask(t *testing.T) {
	dir := t.TempDir()
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	out := filepath.Join(dir, "f")
	if r := runIpsec(t, "newhostkey", "--bits", "2048", "--output", out); r.code != 0 {
		t.Fatal(r.err)
	}
	st, err := os.Stat(out)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

// R11.3: ranbits leaves no file, neither here nor where temporary files go.
func TestRanbitsWritesNoFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("TMPDIR", dir)
	if r := runIpsec(t, "ranbits", "192"); r.code != 0 {
		t.Fatal(r.err)
	}
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if name != dir {
			t.Errorf("%s was made", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// R11.5, R7.11: what ranbits prints goes as it is where a key or a secret
// belongs.
func TestRanbitsCanBePasted(t *testing.T) {
	bits := func(n string) string { return strings.TrimSpace(runIpsec(t, "ranbits", n).out) }
	secret := bits("256")
	s := config.ParseSecrets(config.MapFS{Files: map[string]string{"s": "192.0.2.1 198.51.100.1 : PSK \"" + secret + "\"\n: PSK " + secret + "\n"}}, "s", config.SecretsOptions{})
	if len(s.Entries) != 2 || len(s.Errors)+len(s.Warnings) > 0 || string(s.Entries[0].PSK.Bytes()) != secret || s.Entries[1].PSK.Len() != 32 {
		t.Errorf("%d entries, %v, %v", len(s.Entries), s.Errors, s.Warnings)
	}
	f := config.ParseText("ipsec.conf", "version 2\nconn c\n\tleft=192.0.2.1\n\tright=198.51.100.1\n\tspi=0x200\n\tesp=3des-md5-96\n\tespenckey="+bits("192")+"\n\tespauthkey="+bits("128")+"\n")
	if c := f.Conn("c"); c == nil || c.Manual.Keys.ESPEnc.Len() != 24 || c.Manual.Keys.ESPAuth.Len() != 16 {
		t.Errorf("as keys: %v", f.Errors)
	}
}

// R15.2: what showhostkey --txt prints is zone data: a comment, and a record in
// strings of at most 255 octets, of which the first is the gateway.
func TestShowhostkeyTXT(t *testing.T) {
	gateway(t)
	if r := runIpsec(t, "newhostkey", "--bits", "2048", "--hostname", "west.example.org"); r.code != 0 {
		t.Fatal(r.err)
	}
	lines := strings.Split(strings.TrimSpace(runIpsec(t, "showhostkey", "--txt", "192.0.2.1").out), "\n")
	if len(lines) != 2 || !regexp.MustCompile(`^\s*; RSA 2048 bits\s+west\.example\.org\s+\S`).MatchString(lines[0]) {
		t.Fatalf("%q", lines)
	}
	record := regexp.MustCompile(`^\s+IN\s+TXT\s+(".*")$`).FindStringSubmatch(lines[1])
	if record == nil {
		t.Fatalf("%q", lines[1])
	}
	whole := ""
	for i, m := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(record[1], -1) {
		if len(m[1]) > 255 || i == 0 && m[1] != "X-IPsec-Server(10)=192.0.2.1" {
			t.Errorf("string %d is %q", i, m[1])
		}
		whole += m[1]
	}
	key := strings.TrimSpace(strings.TrimPrefix(runIpsec(t, "showhostkey", "--left").out, "\tleftrsasigkey="))
	if _, text, ok := strings.Cut(key, "0s"); !ok || whole != "X-IPsec-Server(10)=192.0.2.1 "+text {
		t.Errorf("joined, the strings are %.60q, and the key is %.60q", whole, key)
	}
}

// R6.1: whatever looks at the configuration shows none of the private half of
// the host key, nor of the secrets: not the reports for others' eyes, not the
// checks, not the complaints about a broken file.
func TestNoCommandShowsSecrets(t *testing.T) {
	conf := gateway(t)
	if r := runIpsec(t, "newhostkey", "--bits", "2048", "--hostname", "west"); r.code != 0 {
		t.Fatal(r.err)
	}
	const psk, manual = "a shared secret that is nobody's business", "0x5a31c0ffee5a31c0ffee5a31c0ffee5a"
	file := filepath.Join(conf, "ipsec.secrets")
	secrets, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	hidden := []string{psk, manual, manual[2:]}
	for _, m := range regexp.MustCompile(`(?:PrivateExponent|Prime1|Prime2|Exponent1|Exponent2|Coefficient): 0x([0-9a-f]{32})`).FindAllSubmatch(secrets, -1) {
		hidden = append(hidden, string(m[1]))
	}
	if len(hidden) != 9 {
		t.Fatalf("%d private fields found", len(hidden))
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(conf, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sound := "version 2.0\nconn c\n\tauthby=secret|rsasig\n\tleft=192.0.2.1\n\tright=198.51.100.1\n\tauto=add\n" +
		"conn m\n\tleft=192.0.2.1\n\tright=198.51.100.1\n\tspi=0x200\n\tesp=aes128-sha1\n\tespenckey=" + manual + "\n\tespauthkey=" + manual + "00000000\n"
	full := string(secrets) + "192.0.2.1 198.51.100.1 : PSK \"" + psk + "\"\n"
	for name, files := range map[string][2]string{
		"sound":             {sound, full},
		"secrets broken":    {sound, strings.Replace(full, "Prime1: 0x", "Prime1: 0x00", 1) + "192.0.2.1 : PSK \"" + psk + "\n"},
		"secrets, no colon": {sound, full + "192.0.2.1 198.51.100.1 PSK \"" + psk + "\"\n"},
		"key too long":      {strings.Replace(sound, manual+"\n", manual+manual[2:]+"\n", 1), full},
		"key misspelt":      {strings.Replace(sound, "espenckey=", "espenkey=", 1), full},
	} {
		write("ipsec.conf", files[0])
		write("ipsec.secrets", files[1])
		for _, line := range []string{
			"showhostkey --left", "showhostkey --right", "showhostkey --key", "showhostkey --txt 192.0.2.1", "showhostkey --json", "verify", "verify --json",
			"check", "check --json", "barf", "barf --short", "look", "status", "auto --status", "auto --listpubkeys", "eroute", "spi", "setup status",
		} {
			r := runIpsec(t, strings.Fields(line)...)
			for _, h := range hidden {
				if strings.Contains(strings.ToLower(r.out+r.err), h) {
					t.Errorf("%s: ipsec %s shows %.12s…", name, line, h)
				}
			}
		}
	}
}
