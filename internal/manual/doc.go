// Package manual is manual keying: SAs whose keys and numbers a person has
// chosen, and everything else that is put into the data plane by hand. Plan is
// what a connection of ipsec.conf with spi= and keys amounts to on this
// machine; Table is what is there by hand at a moment, and how that changes.
//
// The package is pure. It gives values, and the daemon carries them to the data
// plane from its own goroutine; the commands use it to show what they would do.
// It knows neither IKE nor sockets.
package manual
