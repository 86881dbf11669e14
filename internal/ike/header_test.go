package ike

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// header returns a message of n octets with a good header.
func header(n int) []byte {
	h := Header{SPIi: 1, Next: PayloadNonce, Major: 2, Exchange: SAInit, Flags: FlagInitiator, Length: uint32(n)}
	return append(h.Append(nil), make([]byte, max(0, n-HeaderLen))...)
}

func TestHeaderOfVectorVA(t *testing.T) {
	raw, _ := hex.DecodeString("a1a2a3a4a5a6a7a8b1b2b3b4b5b6b7b82e20232000000001000000ce")
	msg := append(raw, make([]byte, 0xce-len(raw))...)
	h, err := ParseHeader(msg)
	want := Header{0xa1a2a3a4a5a6a7a8, 0xb1b2b3b4b5b6b7b8, PayloadSK, 2, 0, Auth, FlagResponse, 1, 0xce}
	if err != nil || h != want {
		t.Fatalf("got %+v, %v", h, err)
	}
	if h.String() != "IKE_AUTH response 1" || h.FromInitiator() || !h.Response() {
		t.Errorf("%s, from initiator %v", h, h.FromInitiator())
	}
	if again := h.Append(nil); !bytes.Equal(again, raw) {
		t.Errorf("encoded as %x", again)
	}
}

func wantDrop(t *testing.T, msg []byte, reason string) {
	t.Helper()
	_, err := ParseHeader(msg)
	if de, ok := errors.AsType[*DropError](err); !ok || de.Reason != reason {
		t.Errorf("%d octets: %v, want drop(%s)", len(msg), err, reason)
	}
}

func TestAdv_V2C_01_ShortDatagrams(t *testing.T) {
	for n := range HeaderLen {
		wantDrop(t, header(40)[:n], "short")
	}
}

func TestAdv_V2C_03_LengthField(t *testing.T) {
	for _, n := range []uint32{0, 27, 39, 41, 0xffffffff} {
		msg := header(40)
		msg[24], msg[25], msg[26], msg[27] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
		wantDrop(t, msg, "length")
		msg[17] = 0xf0 // the version does not matter
		wantDrop(t, msg, "length")
	}
}

func TestAdv_V2C_04_InitiatorSPIZero(t *testing.T) {
	msg := header(40)
	clear(msg[:8])
	wantDrop(t, msg, "spi")
}

func TestAdv_V2C_08_ReservedFlagsIgnored(t *testing.T) {
	msg := header(40)
	msg[17], msg[19] = 0x2f, 0xff
	h, err := ParseHeader(msg)
	if err != nil || h.Minor != 15 || h.Flags != FlagInitiator|FlagResponse {
		t.Errorf("got %+v, %v", h, err)
	}
	msg[17] = 0x10
	if h, err = ParseHeader(msg); err != nil || h.Flags != FlagEncryption|FlagCommit|FlagAuthOnly {
		t.Errorf("version 1: got %+v, %v", h, err)
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		SAInit.String():            "IKE_SA_INIT",
		ExchangeType(200).String(): "exchange(200)",
		PayloadSKF.String():        "SKF",
		PayloadType(99).String():   "payload(99)",
		NotifyName(14):             "NO_PROPOSAL_CHOSEN",
		NotifyName(16390):          "COOKIE",
		NotifyName(8000):           "error(8000)",
		NotifyName(40000):          "status(40000)",
		NotifyNameV1(18):           "INVALID-ID-INFORMATION",
		NotifyNameV1(36136):        "R-U-THERE",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for typ, name := range payloadNames {
		if strings.HasPrefix(name, "v1-") != (typ > 0 && typ < 33) {
			t.Errorf("payload %d is called %s", typ, name)
		}
	}
}

// FuzzHeader: no panic; what parses, encodes to octets that parse the same.
func FuzzHeader(f *testing.F) {
	f.Add(header(28))
	f.Add(header(60))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, msg []byte) {
		h, err := ParseHeader(msg)
		if err != nil {
			if _, ok := errors.AsType[*DropError](err); !ok {
				t.Fatalf("error %T", err)
			}
			return
		}
		if int(h.Length) != len(msg) || h.SPIi == 0 {
			t.Fatalf("accepted %+v", h)
		}
		again, err := ParseHeader(append(h.Append(nil), msg[HeaderLen:]...))
		if err != nil || again != h {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}
