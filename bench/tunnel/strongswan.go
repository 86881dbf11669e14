package main

import (
	"context"
	"fmt"

	"cygnet/internal/lab"
)

const swanctlConf = `connections {
	net {
		version = 2
		local_addrs = %[1]s
		remote_addrs = %[2]s
		proposals = aes256gcm16-prfsha256-x25519
		local {
			auth = psk
			id = %[1]s
		}
		remote {
			auth = psk
			id = %[2]s
		}
		children {
			net {
				local_ts = %[3]s
				remote_ts = %[4]s
				esp_proposals = aes256gcm16
			}
		}
	}
}
secrets {
	ike-1 {
		secret = "a secret of this benchmark's two charons"
	}
}
`

// upStrongSwan runs charon with its userspace data plane on both gateways.
func upStrongSwan(ctx context.Context, l *lab.Lab, _ string) ([]int, error) {
	east, err := l.StartCharon(ctx, l.Host("east"), lab.CharonConfig{
		Swanctl: fmt.Sprintf(swanctlConf, lab.East, lab.West, lab.EastNet, lab.WestNet)})
	if err != nil {
		return nil, err
	}
	west, err := l.StartCharon(ctx, l.Host("west"), lab.CharonConfig{
		Swanctl: fmt.Sprintf(swanctlConf, lab.West, lab.East, lab.WestNet, lab.EastNet)})
	if err != nil {
		return nil, err
	}
	_, err = west.Swanctl(ctx, "--initiate", "--child", "net")
	return []int{west.Pid, east.Pid}, err
}
