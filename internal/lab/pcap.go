package lab

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
)

// pcapWriter writes the classic capture format (version 2.4, microseconds,
// Ethernet), which tcpdump and Wireshark read.
type pcapWriter struct {
	file *os.File
	buf  *bufio.Writer
}

func newPcap(path string) (*pcapWriter, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("capture file: %w", err)
	}
	w := &pcapWriter{f, bufio.NewWriter(f)}
	const ethernet = 1
	h := binary.NativeEndian.AppendUint32(nil, 0xa1b2c3d4)
	h = binary.NativeEndian.AppendUint16(h, 2)
	h = binary.NativeEndian.AppendUint16(h, 4)
	h = binary.NativeEndian.AppendUint64(h, 0) // time zone, accuracy
	h = binary.NativeEndian.AppendUint32(h, snapLen)
	h = binary.NativeEndian.AppendUint32(h, ethernet)
	_, err = w.buf.Write(h)
	return w, err
}

// frame appends a frame of which data is what was kept of length octets.
func (w *pcapWriter) frame(data []byte, length int) {
	now := time.Now()
	var h [16]byte
	binary.NativeEndian.PutUint32(h[0:], uint32(now.Unix()))
	binary.NativeEndian.PutUint32(h[4:], uint32(now.Nanosecond()/1000))
	binary.NativeEndian.PutUint32(h[8:], uint32(len(data)))
	binary.NativeEndian.PutUint32(h[12:], uint32(length))
	w.buf.Write(h[:]) // an error sticks and is returned by close
	w.buf.Write(data)
}

func (w *pcapWriter) close() error {
	return errors.Join(w.buf.Flush(), w.file.Close())
}
