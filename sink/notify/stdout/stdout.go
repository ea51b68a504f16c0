// Package stdout writes alerts as lines: readable ones, or JSON.
package stdout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
)

// Config says how to write.
type Config struct {
	JSON  bool `yaml:"json" doc:"one JSON object per line instead of text"`
	Color bool `yaml:"color" doc:"colour by priority"`
}

var (
	_ notify.Settings = (*Config)(nil)
	_ notify.Batcher  = (*Config)(nil)
)

// Validate accepts every configuration.
func (Config) Validate() error { return nil }

// Batch takes what is there.
func (Config) Batch() (int, time.Duration) { return 100, 0 }

// Open writes to the program's standard output.
func (c Config) Open(env notify.Env) (notify.Notifier, error) {
	if env.Stdout == nil {
		return nil, errors.New("there is no standard output")
	}
	return New(c, env.Stdout), nil
}

// Stdout writes to one writer. It is safe for concurrent use.
type Stdout struct {
	cfg Config
	mu  sync.Mutex
	w   io.Writer
}

// New returns a Stdout.
func New(cfg Config, w io.Writer) *Stdout { return &Stdout{cfg: cfg, w: w} }

// Notify writes one line for each alert.
func (s *Stdout) Notify(ctx context.Context, batch []notify.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return notify.Each(ctx, batch, func(_ context.Context, m *notify.Message) error {
		line := []byte(Line(m.Alert, s.cfg.Color))
		if s.cfg.JSON {
			var err error
			if line, err = json.Marshal(m.Alert); err != nil {
				return bus.Permanent(fmt.Errorf("write alert %s: %w", m.Alert.ID, err))
			}
		}
		if _, err := s.w.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("write alert: %w", err)
		}
		return nil
	})
}

// Line is the readable form; control characters in what was seen are escaped.
func Line(a *alertv1.Alert, color bool) string {
	prio, reset := "", ""
	if color {
		prio, reset = colorOf(a.Priority), "\x1b[0m"
	}
	return fmt.Sprintf("%s %s%-13s%s %s: %s [%s]", a.When().Local().Format("15:04:05.000"), prio, a.Priority, reset,
		format.Printable(a.Rule), format.Printable(a.Output), format.Printable(a.Node))
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
