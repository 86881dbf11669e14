package pluto

import (
	"fmt"
	"os/user"
	"strconv"
)

// lookers is the number of the group of statusgroup=; 0: there is none. A group
// that does not exist opens nothing.
func (d *Daemon) lookers() uint32 {
	name := d.file.Setup.StatusGroup
	if name == "" {
		return 0
	}
	number := name
	if g, err := user.LookupGroup(name); err == nil {
		number = g.Gid
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		d.log.Warn(fmt.Sprintf("statusgroup=%s: there is no such group; only root may look", name))
		return 0
	}
	return uint32(n)
}
