package suite

import "golang.org/x/crypto/chacha20poly1305"

// ChaCha20 and Poly1305, RFC 7634. The key is always 256 bits and the Key
// Length attribute is never sent (section 4).
var chacha20Poly1305 = Encr{
	ID: 28, Name: "chacha20_poly1305", KLIPS: "ESP_CHACHA20_POLY1305",
	Conf:    []string{"chacha20_poly1305", "chacha20poly1305", "chacha20"},
	KeyBits: []int{256}, Fixed: true, Salt: 4, IV: 8, ICV: 16, Block: 4, AEAD: true,
	NewAEAD: chacha20poly1305.New,
}
