// Package stdout writes alerts as lines: readable ones, or JSON.
package stdout

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/notify"
)

// Config says how to write.
type Config struct {
	Enabled bool `yaml:"enabled" doc:"write alerts to standard output"`
	JSON    bool `yaml:"json" doc:"one JSON object per line instead of text"`
	Color   bool `yaml:"color" doc:"colour by priority"`
}

// Stdout writes to one writer. It is safe for concurrent use.
type Stdout struct {
	cfg Config
	mu  sync.Mutex
	w   io.Writer
}

var _ notify.Notifier = (*Stdout)(nil)

// New returns a Stdout.
func New(cfg Config, w io.Writer) *Stdout { return &Stdout{cfg: cfg, w: w} }

// Name is "stdout".
func (*Stdout) Name() string { return "stdout" }

// Notify writes one line.
func (s *Stdout) Notify(_ context.Context, a *alertv1.Alert) error {
	var line []byte
	if s.cfg.JSON {
		var err error
		if line, err = json.Marshal(a); err != nil {
			return bus.Permanent(fmt.Errorf("write alert %s: %w", a.ID, err))
		}
	} else {
		line = []byte(Line(a, s.cfg.Color))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write alert: %w", err)
	}
	return nil
}

// Line is the readable form; control characters in what was seen are escaped.
func Line(a *alertv1.Alert, color bool) string {
	prio, reset := "", ""
	if color {
		prio, reset = colorOf(a.Priority), "\x1b[0m"
	}
	return fmt.Sprintf("%s %s%-13s%s %s: %s [%s]", a.When().Local().Format("15:04:05.000"), prio, a.Priority, reset,
		clickhouse.Printable(a.Rule), clickhouse.Printable(a.Output), clickhouse.Printable(a.Node))
}

func colorOf(p alertv1.Priority) string {
	switch {
	case p <= alertv1.Critical:
		return "\x1b[1;31m"
	case p == alertv1.Error:
		return "\x1b[31m"
	case p == alertv1.Warning:
		return "\x1b[33m"
	case p == alertv1.Notice:
		return "\x1b[36m"
	default:
		return "\x1b[90m"
	}
}
