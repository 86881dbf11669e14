// Package archtest holds ARCHITECTURE.md true. It has only tests: that the
// page's table and the tree name the same packages, that imports point down
// its layers, that pure packages stay pure, that every package says what it is
// for, and that the identifiers in the page's walks exist.
package archtest
