package config

import (
	"fmt"

	"cygnet/internal/ipsec"
)

// manual checks what manual keying (freeswan.md 2.10) needs to be consistent.
// Algorithms and lengths of keys are package manual's affair.
func (k *checker) manual() *Problem {
	m := &k.Manual
	m.ESP, m.AH = "", ""
	if !k.manuallyKeyed() {
		if _, shunt := k.Shunt(); k.Auto == AutoManual && !shunt {
			return k.problem("auto", "auto=manual, but there is no spi or spibase", "")
		}
		return nil
	}
	m.ESP, m.AH = k.ESP.Text, k.AH.Text
	switch {
	case !k.setup.AllowManual:
		return k.problem("spi", "manual keying is forbidden by allow-manual=no in config setup", "")
	case m.SPI != 0 && m.SPIBase != 0:
		return k.problem("spibase", "both spi and spibase are given", "")
	case m.SPIBase&0xf != 0:
		return k.problem("spibase", fmt.Sprintf("spibase 0x%x does not end in 0", uint32(m.SPIBase)), "its last digit numbers the SAs")
	}
	for _, name := range []string{"espenckey", "espauthkey", "ahkey"} {
		if k.given("left"+name) != k.given("right"+name) {
			id := "left" + name
			if !k.given(id) {
				id = "right" + name
			}
			return k.problem(id, fmt.Sprintf("left%s and right%s must be given both or not at all", name, name), "each is the key of the SA toward that end")
		}
	}
	k.exposedKeys()
	return nil
}

func (k *checker) manuallyKeyed() bool {
	m := &k.Manual
	return m.SPI != 0 || m.SPIBase != 0 || len(k.manualKeys()) > 0
}

// manualKeys lists the parameters that hold keys.
func (k *checker) manualKeys() []string {
	var ids []string
	for _, id := range []string{"espenckey", "espauthkey", "ahkey", "leftespenckey", "rightespenckey", "leftespauthkey", "rightespauthkey", "leftahkey", "rightahkey"} {
		if k.given(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// exposedKeys finds keys in files that are not safe for them (R10.5), and keys
// from the documentation (R10.9).
func (k *checker) exposedKeys() {
	for _, id := range k.manualKeys() {
		file := k.Keys[id].File
		info, known := k.infos[file]
		if why, mend := info.Unsafe(file); known && why != "" {
			text := "this file holds keys and " + why
			k.warnOf("FW007", id, text, mend)
			if k.Manual.Exposed == nil {
				k.Manual.Exposed = k.problem(id, text, mend)
			}
		}
	}
	for _, m := range []struct {
		side string
		ManualKeys
	}{{"", k.Manual.Keys}, {"left", k.Left.Manual}, {"right", k.Right.Manual}} {
		for _, p := range []struct {
			name string
			key  ipsec.Secret
		}{{"espenckey", m.ESPEnc}, {"espauthkey", m.ESPAuth}, {"ahkey", m.AHSecret}} {
			if k.Manual.Example == "" && isExample(p.key.Bytes()) {
				k.Manual.Example = m.side + p.name
			}
		}
	}
	if k.Manual.Example != "" {
		k.warnOf("FW006", k.Manual.Example, fmt.Sprintf("connection %q uses an example key of the documentation", k.Name), "make keys with ipsec ranbits")
	}
}
