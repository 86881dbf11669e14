// Package pluto is the daemon: it carries events to the machines and their
// actions to the world, and decides nothing itself. What a user wants and what
// follows from it is package connection; what peers may say is ikev2; how
// packets travel is an ipsec.Backend.
//
// # Who runs what
//
// One goroutine, in Daemon.Run, owns the table of connections, all IKE SAs and
// their deadlines. Everybody else speaks to it by channel: one reader per
// attached device, the job workers, the data plane, the control server with a
// goroutine per client, the watcher of the machine's interfaces, and one
// goroutine per connection whose script runs. Every queue is bounded:
// datagrams that find theirs full are dropped and counted by the underlay,
// jobs wait in line behind the machines that asked for them, commands wait.
package pluto
