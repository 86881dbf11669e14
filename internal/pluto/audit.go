package pluto

import (
	"context"
	"errors"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ipsec"
)

// audit looks for the SAs that should be in the data plane. Who was emptied
// behind our back, by a flush say, does not tell; the tunnels would look up and
// carry nothing until they are rekeyed.
func (d *Daemon) audit() {
	d.auditAt = time.Now().Add(connection.AuditEvery)
	has := func(id ipsec.SAID) bool {
		_, err := d.o.Plane.Usage(context.Background(), id)
		return !errors.Is(err, ipsec.ErrNotFound)
	}
	for _, a := range d.table.Lost(has) {
		d.enqueue(a.Serial, a.Event)
	}
}
