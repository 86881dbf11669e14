// Package interop tests the real ipsec command against strongSwan's charon in
// the manual's network: ours is west, charon is east. It has only tests; what
// they need of the machine (namespaces, strongSwan) is skipped visibly where
// it is missing, and fails under CI=true.
package interop
