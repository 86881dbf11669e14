package ike

// TCP says whether IKE and ESP go over TCP, RFC 9329, when we begin.
type TCP uint8

const (
	TCPNo       TCP = iota
	TCPYes          // from the first message
	TCPFallback     // once UDP has had no answer
)
