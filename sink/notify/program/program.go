// Package program writes alerts to the standard input of a program.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
)

// Config says which program.
type Config struct {
	Command []string      `yaml:"command" doc:"absolute path and arguments; no shell reads them"`
	Format  format.Format `yaml:"format" doc:"gyre, falco, cloudevents or line"`
	Each    bool          `yaml:"each" doc:"start it for each alert instead of each batch"`
}

// Default writes gyre's JSON.
func Default() *Config { return &Config{Format: format.Gyre} }

// Validate checks the configuration.
func (c *Config) Validate() error {
	if len(c.Command) == 0 || !filepath.IsAbs(c.Command[0]) {
		return errors.New("command is not set: the absolute path of a program, then its arguments")
	}
	return nil
}

// Batch starts the program once for what comes together.
func (c *Config) Batch() (int, time.Duration) {
	if c.Each {
		return 1, 0
	}
	return 100, 100 * time.Millisecond
}

type program struct{ cfg *Config }

// Open starts nothing yet.
func (c *Config) Open(notify.Env) (notify.Notifier, error) { return &program{c}, nil }

// Notify starts the program, writes a line for each alert and waits. It has taken the batch when it ends with 0. With
// another code the batch is tried again; nothing of an alert is ever an argument.
func (p *program) Notify(ctx context.Context, batch []notify.Message) error {
	var in bytes.Buffer
	for i := range batch {
		line, err := p.cfg.Format.Append(nil, &batch[i])
		if err != nil {
			return err
		}
		in.Write(append(line, '\n'))
	}
	cmd := exec.CommandContext(ctx, p.cfg.Command[0], p.cfg.Command[1:]...) //nolint:gosec // the operator's own program
	cmd.Stdin = &in
	cmd.WaitDelay = time.Second // for pipes that a grandchild holds open
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("run %s: %w", p.cfg.Command[0], ctx.Err())
	}
	err = fmt.Errorf("run %s: %w", p.cfg.Command[0], err)
	if text := strings.Join(strings.Fields(notify.Clean(string(out[:min(len(out), 2000)]))), " "); text != "" {
		err = fmt.Errorf("%w: %s", err, notify.Cut(text, 200))
	}
	return daemon.Hint(err, "the program must be executable, read its standard input and end with 0")
}
