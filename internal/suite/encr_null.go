package suite

// The cipher that does not encrypt, RFC 2410: ESP for integrity alone. It is
// never offered by default and never without an integrity algorithm.
var encrNull = Encr{
	ID: 11, Name: "null", KLIPS: "ESP_NULL",
	Conf:  []string{"null"},
	Fixed: true, Block: 4,
	Obsolete: "nothing is encrypted",
}
