// Package uml boots Linux as an ordinary process (user-mode Linux), so that
// tests have a second kernel beside the one they run on: one with IPsec of its
// own, and with tables that a test may fill. It serves tests only.
//
// # Two sides
//
// Boot runs on the host. It starts the kernel of Debian's package
// user-mode-linux in a network namespace of package lab, with the host's whole
// file system as its own, read-only, and a tap device of that namespace as its
// network card vec0. Init runs in the guest: it is process 1 there, because
// Boot tells the kernel to start the very program that called it. A test
// package says so first of all in TestMain:
//
//	func TestMain(m *testing.M) {
//		uml.Init()
//		labtest.Main(m)
//	}
//
// The two talk through a directory that both see: Guest.Run writes a shell
// script there, Init runs it and writes what came of it.
package uml
