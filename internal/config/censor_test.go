package config

import (
	"strings"
	"testing"
)

const censorConf = `conn x
	left=192.0.2.1
	leftrsasigkey=0sAQO1KioqKioqSecretLookingButPublic # public
	rightrsasigkey=0x0103b52a2a
	leftrsasigkey2=%dnsondemand
	espenckey=0x01234567_89abcdef
	rightEspAuthKey="0x89abcdef"
	#	ahkey=0xdeadbeef
	espenkey=0x01234567_89abcdef
	spi=0x200
	leftsubnet=10.0.0.0/8
`

func TestCensorConf(t *testing.T) {
	got := StableCensor().Conf(censorConf)
	want := `conn x
	left=192.0.2.1
	leftrsasigkey=[keyid AQO1KioqK]
	rightrsasigkey=[sums to 498d...]
	leftrsasigkey2=%dnsondemand
	espenckey=[sums to 1fa4...]
	rightEspAuthKey=[sums to 3e4f...]
	#	ahkey=[sums to 352a...]
	espenkey=[sums to 1fa4...]
	spi=0x200
	leftsubnet=10.0.0.0/8
`
	if got != want {
		t.Errorf("got:\n%s\nwant (sums by md5sum):\n%s", got, want)
	}
}

// Sums tell equal values from others within one dump, and nothing across dumps.
func TestCensorSums(t *testing.T) {
	a, b := NewCensor([]byte("one random key")), NewCensor([]byte("another random key"))
	if a.Value("ahkey", "0x1234") != a.Value("leftespauthkey", "0x1234") || a.Value("ahkey", "0x1234") == a.Value("ahkey", "0x1235") {
		t.Error("sums of one dump do not compare")
	}
	if a.Value("ahkey", "0x1234") == b.Value("ahkey", "0x1234") {
		t.Error("sums of two dumps are the same")
	}
}

// R8.3: nothing secret is left, whatever the form of the record.
func TestCensorSecrets(t *testing.T) {
	text := rsaEntry(t, "@west") + "192.0.2.1 %any gw.example : PSK \"canary canary canary canary\"\n@x : PSK 0x63616e617279\n@y : PSK canary\n@z canary \"canary\nC=CH,CN=x : PSK 'canary'\n\"C=CH, CN=y\" : PSK 'canary canary'\n"
	out := NewCensor([]byte("k")).Secrets("s", text)
	for _, secret := range []string{"canary", "63616e617279", testKey().D.Text(16)[:16], testKey().Primes[0].Text(16)[:16], testKey().Primes[1].Text(16)[:16]} {
		if strings.Contains(out, secret) {
			t.Errorf("%q is in\n%s", secret, out)
		}
	}
	for _, want := range []string{"@west : RSA\t{ [...] }\n", "192.0.2.1 %any gw.example : PSK [sums to ", "@x : PSK [sums to ", "\"C=CH, CN=y\" : PSK [sums to "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

func TestExpand(t *testing.T) {
	text, problems := Expand(MapFS{Files: map[string]string{
		"/etc/ipsec.conf": "version 2\ninclude d/*.conf\nconn x\n\tleft=1.2.3.4\n", "/etc/d/a.conf": "# a\n", "/etc/d/b.conf": "conn b\n\tauto=add",
	}}, "/etc/ipsec.conf")
	want := "#< /etc/ipsec.conf 1\nversion 2\n#< /etc/d/a.conf 1\n# a\n#< /etc/d/b.conf 1\nconn b\n\tauto=add\n#< /etc/ipsec.conf 3\nconn x\n\tleft=1.2.3.4\n"
	if text != want || len(problems) > 0 {
		t.Errorf("got %q, %v\nwant %q", text, problems, want)
	}
}
