// Package metrics shows the figures of a daemon to Prometheus, over HTTP on a
// loopback address. It holds no figures itself: for each request it asks a Source,
// which answers with a Sample from wherever the figures live.
//
// How much it shows does not depend on peers. All labels but one have few values
// that are written in this program; connections are named by the configuration, and
// of those Names lets only a fixed number through.
//
// It knows nothing of IKE. Handlers run in goroutines of net/http.
package metrics
