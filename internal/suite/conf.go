package suite

import (
	"strconv"
	"strings"
)

// Conf is an offer as ike=, esp= or ah= would have it: of each kind of transform
// the first that is known and in good standing, else the first that is known.
// It is empty where those words cannot say it. What it returns has been read
// again and meets the offer.
func (o Offer) Conf() string {
	var words []string
	encr, aead := o.encrConf()
	if encr != "" {
		words = append(words, encr)
	}
	integ := prefer(o, TypeInteg, IntegByID, func(i *Integ) (string, string) { return i.Conf[0], i.Obsolete })
	prf := prefer(o, TypePRF, PRFByID, func(p *PRF) (string, string) { return p.Conf[0], p.Obsolete })
	group := prefer(o, TypeKE, KEByID, func(k *KE) (string, string) { return k.Conf[0], k.Obsolete })
	if !aead && integ != "" {
		words = append(words, integ)
	}
	for _, withPRF := range []bool{false, true} { // mostly the other words imply it
		list := append([]string{}, words...)
		if withPRF && prf != "" {
			list = append(list, prf)
		}
		if group != "" {
			list = append(list, group)
		}
		if text := strings.Join(list, "-"); o.means(text) {
			return text
		}
	}
	return ""
}

// means reports whether text, as a line of ipsec.conf, meets o.
func (o Offer) means(text string) bool {
	list, err := parse(o.Protocol, text)
	if err != nil {
		return false
	}
	if o.Protocol != ProtoIKE && !o.has(TypeKE) {
		for i := range list {
			list[i] = list[i].WithoutKE()
		}
	}
	_, _, err = Select(list, []Offer{o})
	return err == nil
}

func (o Offer) encrConf() (word string, aead bool) {
	obsolete := ""
	for _, t := range o.Transforms {
		e := EncrByID(t.ID)
		if t.Type != TypeEncr || e == nil || word != "" && (e.Obsolete != "" || obsolete == "") {
			continue
		}
		word, aead, obsolete = e.Conf[0], e.AEAD, e.Obsolete
		if !e.Fixed && t.KeyBits != 0 {
			word += strconv.Itoa(int(t.KeyBits))
		}
	}
	return word, aead
}

// prefer is the word for the best known transform of a kind.
func prefer[T any](o Offer, kind TransformType, byID func(uint16) *T, describe func(*T) (word, obsolete string)) string {
	second := ""
	for _, t := range o.Transforms {
		x := byID(t.ID)
		if t.Type != kind || x == nil {
			continue
		}
		word, obsolete := describe(x)
		if obsolete == "" {
			return word
		}
		if second == "" {
			second = word
		}
	}
	return second
}
