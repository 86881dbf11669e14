package wire

import (
	"crypto/cipher"
	"slices"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// Opened is the content of an encrypted message.
type Opened struct {
	Payloads
	// After[i] are the octets that follow payload i up to the end of the last
	// payload, without the padding: what HASH(1) covers, for i = 0.
	After [][]byte
	// IV is the message's last block, which is the IV of the next message of
	// the exchange (RFC 2409 appendix B). It counts only once the message is
	// known to be good: a bad one must not break the chain.
	IV []byte
}

// Open decrypts msg under a block cipher in CBC mode, starting from iv, and
// decodes it. What is behind the last payload is padding, whatever it holds:
// RFC 2409 appendix B wants zeros, RFC 2408 allowed other ways. msg is not
// changed. The error is a *ike.DropError; with the wrong key it is almost
// certain to come.
func Open(msg []byte, block cipher.Block, iv []byte) (*Opened, error) {
	h, err := ike.ParseHeader(msg)
	if err != nil {
		return nil, err
	}
	text := msg[ike.HeaderLen:]
	switch {
	case h.Flags&ike.FlagEncryption == 0:
		return nil, dropped("protected", "a message in the clear where an encrypted one is due")
	case len(text) == 0 || len(text)%block.BlockSize() != 0:
		return nil, dropped("malformed", "%d octets are no whole number of blocks", len(text))
	case h.Next == ike.NoPayload:
		return nil, dropped("missing", "message without payloads")
	}
	plain := make([]byte, len(text))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, text)
	c, err := parseChain(h.Next, octet.NewReader(plain))
	if err != nil {
		return nil, err
	}
	o := &Opened{Payloads: c.payloads, IV: slices.Clone(text[len(text)-block.BlockSize():])}
	end := c.ends[len(c.ends)-1]
	for _, at := range c.ends {
		o.After = append(o.After, plain[at:end])
	}
	return o, nil
}

// Seal appends an encrypted message to b and returns it with the IV of the next
// message of the exchange. Next, Length and the encryption flag of h are filled
// in here.
func Seal(b []byte, h ike.Header, block cipher.Block, iv []byte, payloads ...Payload) (msg, next []byte) {
	start := len(b)
	h.Next, h.Flags = first(payloads), h.Flags|ike.FlagEncryption
	b = AppendPayloads(h.Append(b), payloads...)
	text := start + ike.HeaderLen
	for (len(b)-text)%block.BlockSize() != 0 {
		b = append(b, 0)
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(b[text:], b[text:])
	setLength(b[start:])
	return b, slices.Clone(b[len(b)-block.BlockSize():])
}
