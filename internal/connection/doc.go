// Package connection holds what one wants: connections, their instances, their
// routing and their shunts. Table is a pure machine: it is told what users ask
// for, what the IKE machines report and what the data plane met, and answers
// with what must be done, above all with the whole desired SPD and the whole
// set of kernel routes. It does no I/O, reads no clock and knows neither
// messages nor keys. pluto's loop is its only caller; machines ask it as
// ike.PAD from within the same goroutine.
//
// Two rules hold after every Step, and a property test holds the code to them:
// a prefix that is routed into a tunnel device is covered by a policy, and no
// policy passes packets in clear unless the configuration says so.
package connection
