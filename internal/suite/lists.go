package suite

// The algorithms, in the order of their transform IDs. Adding one is a new
// file and a line here; preference is another matter (defaults.go).
var (
	encrs  = []*Encr{&des3CBC, &encrNull, &aesCBC, &aesGCM8, &aesGCM12, &aesGCM16, &chacha20Poly1305}
	prfs   = []*PRF{&prfHMACMD5, &prfHMACSHA1, &prfHMACSHA256, &prfHMACSHA384, &prfHMACSHA512}
	integs = []*Integ{&hmacMD5, &hmacSHA1, &hmacSHA256, &hmacSHA384, &hmacSHA512}
	kes    = []*KE{&modp1024, &modp1536, &modp2048, &modp3072, &modp4096, &ecp256, &ecp384, &ecp521, &x25519, &mlkem768}
)

// Encrs lists the encryption algorithms by transform ID. The slice is the
// caller's, the descriptors are shared and read-only; so for the others.
func Encrs() []*Encr { return append([]*Encr(nil), encrs...) }

// PRFs lists the pseudo-random functions by transform ID.
func PRFs() []*PRF { return append([]*PRF(nil), prfs...) }

// Integs lists the integrity algorithms by transform ID.
func Integs() []*Integ { return append([]*Integ(nil), integs...) }

// KEs lists the key exchange methods by transform ID.
func KEs() []*KE { return append([]*KE(nil), kes...) }

// EncrByID returns the encryption algorithm of an IKEv2 transform ID, or nil.
func EncrByID(id uint16) *Encr {
	return find(encrs, func(e *Encr) bool { return e.ID == id })
}

// PRFByID returns the pseudo-random function of an IKEv2 transform ID, or nil.
func PRFByID(id uint16) *PRF {
	return find(prfs, func(p *PRF) bool { return p.ID == id })
}

// IntegByID returns the integrity algorithm of an IKEv2 transform ID, or nil.
func IntegByID(id uint16) *Integ {
	return find(integs, func(i *Integ) bool { return i.ID == id })
}

// KEByID returns the key exchange method of an IKEv2 transform ID, or nil.
func KEByID(id uint16) *KE {
	return find(kes, func(k *KE) bool { return k.ID == id })
}

// EncrByName returns the encryption algorithm of an ipsec.conf name without
// key size, or nil.
func EncrByName(conf string) *Encr {
	return find(encrs, func(e *Encr) bool { return named(conf, e.Name, e.Conf) })
}

// PRFByName returns the pseudo-random function of an ipsec.conf name, or nil.
// The name is a hash's, with or without "prf" before it.
func PRFByName(conf string) *PRF {
	return find(prfs, func(p *PRF) bool { return named(conf, p.Name, p.Conf) })
}

// IntegByName returns the integrity algorithm of an ipsec.conf name, or nil.
func IntegByName(conf string) *Integ {
	return find(integs, func(i *Integ) bool { return named(conf, i.Name, i.Conf) })
}

// KEByName returns the key exchange method of an ipsec.conf name, or nil.
func KEByName(conf string) *KE {
	return find(kes, func(k *KE) bool { return named(conf, k.Name, k.Conf) })
}

func find[T any](list []*T, is func(*T) bool) *T {
	for _, x := range list {
		if is(x) {
			return x
		}
	}
	return nil
}

// named compares names without regard to case and underscores, in which the
// three families of ipsec.conf differ.
func named(word, name string, conf []string) bool {
	word = fold(word)
	if word == fold(name) {
		return true
	}
	for _, c := range conf {
		if word == fold(c) {
			return true
		}
	}
	return false
}
