package suite

import "crypto/des"

// Triple DES in CBC mode, RFC 2451: the cipher of FreeS/WAN. The parity bits
// of the key are neither checked nor used.
var des3CBC = Encr{
	ID: 3, Name: "3des_cbc", KLIPS: "ESP_3DES",
	Conf:    []string{"3des", "3des_cbc", "des3"},
	KeyBits: []int{192}, Fixed: true, IV: 8, Block: 8,
	Obsolete: "blocks of 64 bits collide after some gigabytes (CVE-2016-2183)",
	NewBlock: des.NewTripleDESCipher,
}
