package whack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// DecodeRequest reads a request line. What it returns is complete: the
// operation exists and has the arguments it needs.
func DecodeRequest(line []byte) (Request, error) {
	var r Request
	if len(line) > maxRequest {
		return r, fmt.Errorf("request of %d octets, at most %d are read", len(line), maxRequest)
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Request{}, fmt.Errorf("decode request: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Request{}, fmt.Errorf("decode request: more than one object in a line")
	}
	if err := r.check(); err != nil {
		return Request{}, err
	}
	return r, nil
}

func (r Request) check() error {
	needs, ok := ops[r.Op]
	switch {
	case !ok:
		return fmt.Errorf("unknown operation %q", clip(string(r.Op)))
	case len(r.Args.Name) > maxName:
		return fmt.Errorf("connection name of %d octets, at most %d", len(r.Args.Name), maxName)
	case needs == needName && r.Args.Name == "":
		return fmt.Errorf("%s needs the name of a connection", r.Op)
	case needs == needSerial && r.Args.Serial == 0:
		return fmt.Errorf("%s needs a state number", r.Op)
	case needs == needAddr && !r.Args.Addr.IsValid():
		return fmt.Errorf("%s needs an address", r.Op)
	case len(r.Args.Debug) > maxDebugList:
		return fmt.Errorf("%d debug areas, at most %d", len(r.Args.Debug), maxDebugList)
	case r.Args.Config != "" && (!filepath.IsAbs(r.Args.Config) || strings.ContainsRune(r.Args.Config, 0)):
		return fmt.Errorf("configuration file %q is not an absolute path", clip(r.Args.Config))
	}
	return r.checkByHand()
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
