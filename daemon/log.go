package daemon

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// The keys of log records. Every record of every program uses these and no others, so that one query finds a host, a
// rule or an error in all of them.
const (
	KeyAddr      = "addr"      // network address
	KeyBytes     = "bytes"     // size
	KeyChild     = "child"     // name of a child process
	KeyComponent = "component" // part of a program, set once by With
	KeyConsumer  = "consumer"  // NATS consumer
	KeyCount     = "count"     // how many
	KeyDelay     = "delay"     // time until the next attempt
	KeyErr       = "err"       // error
	KeyFile      = "file"      // path of a file of ours
	KeyHost      = "host"      // host an event comes from
	KeyKind      = "kind"      // event kind
	KeyLine      = "line"      // line of text of a child process
	KeyName      = "name"      // name of a thing of which there are several
	KeyPart      = "part"      // loop, stop function or readiness check
	KeyPID       = "pid"       // process id
	KeyReason    = "reason"    // why something was dropped or refused
	KeyRule      = "rule"      // rule id
	KeySeq       = "seq"       // sequence number on a stream
	KeySignal    = "signal"    // operating system signal
	KeyStream    = "stream"    // NATS stream, or stdout and stderr of a child process
	KeySubject   = "subject"   // NATS subject
	KeyTook      = "took"      // duration
	KeyVersion   = "version"   // version of a program or a format
)

// The log formats.
const (
	LogAuto = "auto" // text on a terminal, JSON elsewhere
	LogText = "text"
	LogJSON = "json"
)

// LogConfig is the user's part of the settings of a log. The zero value logs from info level in the automatic format.
type LogConfig struct {
	Level  slog.Level `yaml:"level" doc:"Lowest level to log: debug, info, warn or error."`
	Format string     `yaml:"format" doc:"Format of the log: text, json, or auto for text on a terminal and JSON elsewhere."`
}

// DefaultLogConfig logs from info level in the automatic format.
func DefaultLogConfig() LogConfig { return LogConfig{Level: slog.LevelInfo, Format: LogAuto} }

// Validate says whether the format is known.
func (c LogConfig) Validate() error {
	switch c.Format {
	case "", LogAuto, LogText, LogJSON:
		return nil
	}
	return Hint(fmt.Errorf("unknown log format %q", c.Format), "use auto, text or json")
}

// NewLog returns a logger that writes to w, and its level, which may be changed while it is in use. Text is coloured
// if w is a terminal and the environment variable NO_COLOR is empty.
func NewLog(w io.Writer, cfg LogConfig) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(cfg.Level)
	tty := isTerminal(w)
	if cfg.Format == LogJSON || cfg.Format != LogText && !tty {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: durationText})), level
	}
	return slog.New(tint.NewTextHandler(w, &tint.Options{
		Level:      level,
		TimeFormat: "15:04:05.000",
		NoColor:    !tty || os.Getenv("NO_COLOR") != "",
	})), level
}

// durationText writes durations as people do, and not as a count of nanoseconds.
func durationText(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
