package ikev2

import (
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// Notifies of extensions that we do not have, and have not agreed to, change
// nothing: neither what is answered nor what the IKE SA expects next.
const (
	notifyAnotherAuthFollows uint16 = 16405 // RFC 4739
	notifySyncSupported      uint16 = 16420 // RFC 6311
	notifyMessageIDSync      uint16 = 16422 // RFC 6311
)

// V2S-53: MULTIPLE_AUTH_SUPPORTED and ANOTHER_AUTH_FOLLOWS are ignored. The first
// proof is judged at once, so that a peer that announces another one after a bad
// one is refused, and none is waited for.
func TestAdv_V2S_53_MultipleAuth(t *testing.T) {
	more := []wire.Payload{wire.NewNotify(ike.NotifyMultipleAuthSupported, nil), wire.NewNotify(notifyAnotherAuthFollows, nil)}

	p, n, sa := inState(t, stateInitR)
	p.flying = nil
	if got := rudeTo(p, n, sa).ask(ike.Auth, append(plausible(ike.Auth, false), more...)...); errorOf(got) != ike.NotifyAuthenticationFailed || sa.state != stateLinger {
		t.Errorf("a bad proof with another to come: %v, %s", got, sa.stateName())
	}
	p, r := rudePair(t)
	if got := r.ask(ike.Informational, more...); len(got) != 0 {
		t.Errorf("answered with %v", got)
	}
	p.check(1)
}

// V2S-54: MESSAGE_ID_SYNC, which has not been negotiated, moves no window,
// wherever it comes and whatever numbers it has: a nonce, and the message IDs that
// the peer would have us send and expect.
// XCH-63.
func TestAdv_V2S_54_MessageIDSync(t *testing.T) {
	for _, data := range [][]byte{
		nil,
		{1, 2, 3, 4, 0, 0, 0x10, 0, 0, 0, 0x20, 0},
		{1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		p, r := rudePair(t)
		sync := []wire.Payload{wire.NewNotify(notifySyncSupported, nil), wire.NewNotify(notifyMessageIDSync, data)}
		expect, next := r.sa.win.expect, r.sa.win.nextID
		if got := r.ask(ike.Informational, sync...); len(got) != 0 {
			t.Errorf("%x: answered with %v", data, got)
		}
		if r.sa.win.expect != expect+1 || r.sa.win.nextID != next {
			t.Errorf("%x: expects %d and sends %d, before %d and %d", data, r.sa.win.expect, r.sa.win.nextID, expect, next)
		}
		// RFC 6311, 5.1 has it come with message ID 0, outside the window: dropped, or
		// at most answered as the request that had that number.
		r.askID(0, ike.Informational, sync...)
		if r.sa.win.expect != expect+1 || r.sa.win.nextID != next {
			t.Errorf("%x with message ID 0: expects %d and sends %d", data, r.sa.win.expect, r.sa.win.nextID)
		}
		p.flying = nil
		p.check(1)
	}
}
