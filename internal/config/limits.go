package config

// Bounds of what is read. Each is far above any real configuration and keeps a
// mistake (an include of a log, a loop of files) from taking the machine.
const (
	maxConfSize    = 64 << 20 // octets of one file: a thousand conns with keys are 2 MiB
	maxSecretsSize = 1 << 20  // octets of one secrets file (CFG-09); 999 PSK lines are 150 KiB
	maxKeySize     = 64 << 10 // octets of a private key file
	maxFiles       = 4096     // files of one configuration, includes counted each time
	maxLine        = 1 << 18  // octets; an RSA key of 16384 bits takes 2800
	maxDepth       = 10       // nesting of includes (freeswan.md 2.2)
	maxInstances   = 4096     // connections that one leftsubnets= may make
	maxPSK         = 4096     // octets of a pre-shared key

	maxGroupSize    = 64 << 20  // octets of a policy group file (opportunistic.md 2.3)
	maxGroupLine    = 1024      // octets of a line of it
	maxGroupEntries = 1_000_000 // of one file
)
