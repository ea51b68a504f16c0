// Package redis adds alerts to a Redis (or Valkey) stream.
package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	Address    string        `yaml:"address" doc:"host:port of the server"`
	User       string        `yaml:"user" doc:"user"`
	Password   daemon.Secret `yaml:"password" doc:"password"`
	Database   int           `yaml:"database" doc:"number of the database"`
	Key        string        `yaml:"key" doc:"key of the stream"`
	MaxEntries int64         `yaml:"max_entries" doc:"about how many entries the stream keeps; 0 means all"`
	TLS        bool          `yaml:"tls" doc:"connect with TLS"`
	CAFile     string        `yaml:"ca_file" doc:"certificates of the authorities that sign the server's"`
	CertFile   string        `yaml:"cert_file" doc:"client certificate"`
	KeyFile    string        `yaml:"key_file" doc:"key of the client certificate"`
}

// Default keeps about 100,000 entries.
func Default() *Config { return &Config{Key: "gyre:alerts", MaxEntries: 100_000} }

func (c *Config) tls() web.Config {
	return web.Config{CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile}
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	var addr error
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		addr = fmt.Errorf("address is %q, want host:port", c.Address)
	}
	return errors.Join(addr, web.Required("key", c.Key != ""), c.tls().Validate())
}

// Batch adds many in one round trip.
func (*Config) Batch() (int, time.Duration) { return 500, 100 * time.Millisecond }

const maxAlert = 1 << 20 // bytes

type stream struct {
	cfg    *Config
	client *redis.Client
}

// Open reads the password.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	password, err := c.Password.Resolve()
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	o := &redis.Options{Addr: c.Address, Username: c.User, Password: password, DB: c.Database, MaxRetries: -1, ContextTimeoutEnabled: true, DialerRetries: 1}
	if c.TLS {
		if o.TLSConfig, err = c.tls().TLS(); err != nil {
			return nil, err
		}
	}
	return &stream{c, redis.NewClient(o)}, nil
}

// Notify adds an entry with the fields id, rule, priority and alert (JSON) for each.
func (s *stream) Notify(ctx context.Context, batch []notify.Message) error {
	pipe := s.client.Pipeline()
	for i := range batch {
		a := batch[i].Alert
		doc, err := format.Fit(a, maxAlert)
		if err != nil {
			return bus.Permanent(err)
		}
		pipe.XAdd(ctx, &redis.XAddArgs{
			Stream: s.cfg.Key, MaxLen: s.cfg.MaxEntries, Approx: s.cfg.MaxEntries > 0,
			Values: []any{"id", a.ID.String(), "rule", notify.Clean(a.Rule), "priority", batch[i].Severity, "alert", doc},
		})
	}
	results, err := pipe.Exec(ctx)
	if err == nil {
		return nil
	}
	p := &notify.Partial{Errs: make([]error, len(batch))}
	for i := range batch {
		p.Errs[i] = err
		if len(results) == len(batch) {
			p.Errs[i] = classify(results[i].Err())
		}
	}
	if len(batch) == 1 {
		return p.Errs[0]
	}
	return p
}

// classify: only an alert that is too large would fail for ever.
func classify(err error) error {
	if err != nil && strings.Contains(err.Error(), "string exceeds maximum allowed size") {
		return bus.Permanent(err)
	}
	return err
}

// Close closes the connections.
func (s *stream) Close() error { return s.client.Close() }
