package pluto

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
)

// logReport renders a fact in the classic form, `"name" #n: text`.
func (d *Daemon) logReport(r ike.Report) {
	code, text := connection.Line(r)
	level := slog.LevelInfo
	if code == 3 || code >= 200 || code == 31 {
		level = slog.LevelWarn
	}
	d.log.Log(context.Background(), level, text)
}

func (d *Daemon) logTable(a connection.Log) {
	text := a.Text
	if a.Conn != nil {
		title := a.Conn.Title()
		if a.Serial != 0 {
			title += fmt.Sprintf(" #%d", a.Serial)
		}
		text = title + ": " + text
	}
	level := slog.LevelInfo
	if a.Serious {
		level = slog.LevelWarn
	}
	d.log.Log(context.Background(), level, text)
}

// LogHandler writes records as lines of text: time, message, attributes. What
// might end a line or fool a terminal is escaped, whoever sent it.
type LogHandler struct {
	out   *output
	times bool
	level slog.Leveler
	attrs string
}

// output is where the lines of a handler and of those made from it go.
type output struct {
	mu sync.Mutex
	w  io.Writer
	n  uint64 // of lines so far
}

// NewLogHandler writes to w. If times is set, each line begins with the time of
// day and its number: clocks are set back, and numbers are not.
func NewLogHandler(w io.Writer, times bool, level slog.Leveler) *LogHandler {
	return &LogHandler{out: &output{w: w}, times: times, level: level}
}

// Enabled implements slog.Handler.
func (h *LogHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle implements slog.Handler.
func (h *LogHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value.Resolve())
		return true
	})
	line := plain(b.String()) + "\n"
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.n++ // also of a line that a full disk does not take
	if h.times {
		line = fmt.Sprintf("%s [%d] %s", r.Time.Format(time.DateTime+".000"), h.out.n, line)
	}
	_, err := io.WriteString(h.out.w, line)
	return err
}

// WithAttrs implements slog.Handler.
func (h *LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		c.attrs += fmt.Sprintf(" %s=%v", a.Key, a.Value.Resolve())
	}
	return &c
}

// WithGroup implements slog.Handler; groups do not show in lines.
func (h *LogHandler) WithGroup(string) slog.Handler { return h }

// plain makes one line of s: control characters, marks that turn the direction
// of text, and broken UTF-8 are escaped, and its length is bounded.
func plain(s string) string {
	var b strings.Builder
	for i, r := range s {
		if b.Len() > maxLogLine {
			b.WriteString("…")
			break
		}
		switch {
		case r == utf8.RuneError && strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteRune(r)
		case r == utf8.RuneError:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
