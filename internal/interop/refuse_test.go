package interop

import (
	"regexp"
	"strings"
	"testing"

	"cygnet/internal/rawkey"
)

// What can be wrong between two peers, with the exit code that tells a script
// and the words that tell a person. Afterwards nothing stands.
// R4.4: a wrong secret or key makes no SA.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name  string
		plan  plan
		exit  int
		words string // in the output, in small letters
	}{
		{"wrong secret", plan{spoil: func(x *parts) {
			x.secrets = strings.Replace(x.secrets, psk, "something else", 1)
		}}, 11, "auth"},
		{"wrong key of ours", plan{kind: "ed25519", spoil: func(x *parts) {
			x.files["pubkey/west.pem"] = x.files["pubkey/east.pem"]
		}}, 11, "auth"},
		{"wrong key of theirs", plan{kind: "ed25519", spoil: func(x *parts) {
			key := newKey(t, "ed25519").Public()
			text, err := rawkey.Format(key)
			if err != nil {
				t.Fatal(err)
			}
			x.conf = regexp.MustCompile(`right(pubkey|rsasigkey)=\S+`).ReplaceAllString(x.conf, "right"+rawkey.Keyword(key)+"="+text)
		}}, 11, "auth"},
		{"unknown ID of theirs", plan{spoil: func(x *parts) {
			x.conf = strings.Replace(x.conf, "rightid="+eastID, "rightid=@stranger.lab", 1)
			x.secrets = strings.Replace(x.secrets, eastID, "@stranger.lab", 1)
		}}, 11, "auth"},
		{"unknown ID of ours", plan{spoil: func(x *parts) {
			x.conf = strings.Replace(x.conf, "leftid="+westID, "leftid=@stranger.lab", 1)
			x.secrets = strings.Replace(x.secrets, westID, "@stranger.lab", 1)
		}}, 11, "auth"},
		{"no common IKE proposal", plan{conn: "retransmit-timeout=4s", spoil: func(x *parts) {
			x.conf = strings.Replace(x.conf, "\tauthby", "\tike=aes256-sha512-modp4096\n\tauthby", 1)
			x.swanctl = strings.Replace(x.swanctl, "version = 2", "version = 2\n\t\tproposals = aes128gcm16-prfsha256-x25519", 1)
		}}, 10, "proposal"},
		{"no common ESP proposal", plan{spoil: func(x *parts) {
			x.conf = strings.Replace(x.conf, "\tauthby", "\tesp=aes256-sha512\n\tauthby", 1)
			x.swanctl = strings.Replace(x.swanctl, "local_ts", "esp_proposals = aes128gcm16\n\t\t\t\tlocal_ts", 1)
		}}, 10, "proposal"},
		{"no common selectors", plan{spoil: func(x *parts) {
			x.swanctl = strings.Replace(x.swanctl, "local_ts = 192.168.200.0/24", "local_ts = 192.168.222.0/24", 1)
		}}, 13, "ts_unacceptable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, tt.plan)
			out := r.ipsec(tt.exit, "auto", "--up", "net")
			if !strings.Contains(strings.ToLower(out), tt.words) {
				t.Errorf("nothing about %q in:\n%s", tt.words, out)
			}
			if s := r.ipsec(0, "auto", "--status"); strings.Contains(s, "IPsec SA established") {
				t.Errorf("an SA stands all the same:\n%s", s)
			}
			if _, children := r.charonSAs(); children > 0 {
				t.Error("charon has a Child SA")
			}
		})
	}
}

// Nobody answers: the attempt ends by itself, with the code for silence.
func TestSilentPeer(t *testing.T) {
	r := start(t, plan{conn: "keyingtries=1 retransmit-timeout=4s"})
	r.must(r.lab.Host("nic").Down("east"))
	r.ipsec(12, "auto", "--up", "net")
}
