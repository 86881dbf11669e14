package suite

import "crypto/aes"

// AES in CBC mode, RFC 3602.
var aesCBC = Encr{
	ID: 12, Name: "aes_cbc", KLIPS: "ESP_AES",
	Conf:    []string{"aes", "aes_cbc"},
	KeyBits: []int{256, 128, 192}, IV: 16, Block: 16,
	NewBlock: aes.NewCipher,
}
